/** One denial as the kernel, or a userspace object manager, recorded it. */
export interface Avc {
  /** Number of the audit event; unique within one boot, shared by all records of one system call. */
  readonly serial: number;
  /** Seconds since 1970. */
  readonly time: number;
  /** Permissions that were asked for and denied. */
  readonly denied: readonly string[];
  readonly scontext: string;
  readonly tcontext: string;
  readonly tclass: string;
  /** The access was allowed all the same, by a permissive domain or machine. */
  readonly permissive: boolean;
  readonly pid?: number;
  readonly comm?: string;
  readonly path?: string;
  readonly name?: string;
  readonly dev?: string;
  readonly ino?: number;
}

/** In audit.log by name; in the kernel's log by number, AUDIT_AVC or AUDIT_USER_AVC. */
const RECORD = /type=(?:AVC|USER_AVC|1400|1107) (?:msg=)?audit\((\d+\.\d+):(\d+)\):/;

/**
 * The AVC denial in one line of audit.log or dmesg; `undefined` for any other line, those of
 * auditallow (`granted`) and the agent's own records included.
 */
export function parseAvc(line: string): Avc | undefined {
  const record = RECORD.exec(line);
  const decision = /avc:\s+denied\s+\{ ([^}]*)\}/.exec(line);
  if (record === null || decision === null) return undefined;
  const [, time, serial] = record;
  const rest = line.slice(decision.index + decision[0].length);
  const scontext = field(rest, "scontext");
  const tcontext = field(rest, "tcontext");
  const tclass = field(rest, "tclass");
  if (scontext === undefined || tcontext === undefined || tclass === undefined) return undefined;
  const pid = field(rest, "pid");
  const ino = field(rest, "ino");
  return {
    serial: Number(serial),
    time: Number(time),
    denied: (decision[1] ?? "").trim().split(/\s+/),
    scontext,
    tcontext,
    tclass,
    permissive: field(rest, "permissive") === "1",
    ...(pid !== undefined && { pid: Number(pid) }),
    ...text(rest, "comm"),
    ...text(rest, "path"),
    ...text(rest, "name"),
    ...text(rest, "dev"),
    ...(ino !== undefined && { ino: Number(ino) }),
  };
}

/** Every denial of audit.log, and those of dmesg that the audit daemon came too late for. */
export function parseAvcs(auditLog: string, dmesg: string): Avc[] {
  const found = new Map<string, Avc>();
  for (const line of [...auditLog.split("\n"), ...dmesg.split("\n")]) {
    const avc = parseAvc(line);
    // The whole record is the key: one event may hold several denials under one serial.
    if (avc !== undefined) found.set(JSON.stringify(avc), avc);
  }
  return [...found.values()].sort((a, b) => a.serial - b.serial);
}

function text<K extends string>(line: string, key: K): Partial<Record<K, string>> {
  const raw = field(line, key);
  return raw === undefined ? {} : { [key]: raw } as Record<K, string>;
}

/**
 * Value of `key=`: quoted as it stands, or in hexadecimal digits where the kernel met a character
 * that it does not trust (a space, a quote, a control character).
 */
function field(line: string, key: string): string | undefined {
  const match = new RegExp(`(?:^|\\s)${key}=(?:"([^"]*)"|([^\\s'"]+))`).exec(line);
  if (match === null) return undefined;
  const [, quoted, bare] = match;
  if (quoted !== undefined) return quoted;
  const untrusted = ["comm", "path", "name"].includes(key) && /^(?:[0-9A-F]{2})+$/.test(bare!);
  return untrusted ? Buffer.from(bare!, "hex").toString() : bare;
}
