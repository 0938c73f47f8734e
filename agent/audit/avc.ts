/** What was denied to whom, as the kernel, or a userspace object manager, words it. */
export interface Denial {
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
  /** Of an ioctl: type and number of the command, `0x660f`. */
  readonly ioctlcmd?: string;
  /** What the kernel could not make a context of and took for unlabeled_t: a type it does not have. */
  readonly trawcon?: string;
}

/** One denial with the audit event that it stands in. */
export interface Avc extends Denial {
  /** Number of the audit event; unique within one boot, shared by all records of one system call. */
  readonly serial: number;
  /** Seconds since 1970. */
  readonly time: number;
}

/** In audit.log by name; in the kernel's log by number, AUDIT_AVC or AUDIT_USER_AVC. */
const RECORD = /type=(?:AVC|USER_AVC|1400|1107) (?:msg=)?audit\((\d+\.\d+):(\d+)\):/;

/**
 * The AVC denial in one line of audit.log or dmesg; `undefined` for any other line, those of
 * auditallow (`granted`) and the agent's own records included.
 */
export function parseAvc(line: string): Avc | undefined {
  const record = RECORD.exec(line);
  const denial = record === null ? undefined : parseDenial(line);
  if (record === null || denial === undefined) return undefined;
  return { serial: Number(record[2]), time: Number(record[1]), ...denial };
}

/**
 * The denial in a line of any log, whatever stands before it.
 *
 * @param interpreted It is of `ausearch -i`, which decodes names and leaves their quotes out.
 */
export function parseDenial(line: string, interpreted = false): Denial | undefined {
  const decision = /avc:\s+denied\s+\{ ([^}]*)\}/.exec(line);
  if (decision === null) return undefined;
  const rest = line.slice(decision.index + decision[0].length);
  // Contexts come last: a file's name, decoded, may look like one.
  const last = rest.lastIndexOf(" scontext=");
  const contexts = rest.slice(last);
  const scontext = fieldOf(contexts, "scontext");
  const tcontext = fieldOf(contexts, "tcontext");
  const tclass = fieldOf(contexts, "tclass");
  if (scontext === undefined || tcontext === undefined || tclass === undefined) return undefined;
  const what = rest.slice(0, last);
  const pid = fieldOf(what, "pid");
  const ino = fieldOf(what, "ino");
  return {
    denied: (decision[1] ?? "").trim().split(/\s+/),
    scontext,
    tcontext,
    tclass,
    permissive: fieldOf(contexts, "permissive") === "1",
    ...(pid !== undefined && { pid: Number(pid) }),
    ...text(what, "comm", interpreted),
    ...text(what, "path", interpreted),
    ...text(what, "name", interpreted),
    ...text(what, "dev"),
    ...(ino !== undefined && { ino: Number(ino) }),
    ...text(what, "ioctlcmd"),
    ...text(contexts, "trawcon"),
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

function text<K extends string>(
  line: string,
  key: K,
  interpreted = false,
): Partial<Record<K, string>> {
  const value = fieldOf(line, key, interpreted);
  return value === undefined ? {} : { [key]: value } as Record<K, string>;
}

/** Values that a program chooses; the kernel calls them untrusted. */
const UNTRUSTED = ["comm", "path", "name", "exe", "cwd", "proctitle", "trawcon"];

/**
 * Value of `key=` in a record: quoted as it stands, or in hexadecimal digits where the kernel met a
 * character that it does not trust (a space, a quote, a control character).
 *
 * @param interpreted An untrusted value is as it was, and goes on to the next `key=`.
 */
export function fieldOf(line: string, key: string, interpreted = false): string | undefined {
  const untrusted = UNTRUSTED.includes(key);
  const match = new RegExp(`(?:^|\\s)${key}=(?:"([^"]*)"|([^\\s'"]\\S*))`).exec(line);
  if (match === null) return undefined;
  const [, quoted, bare] = match;
  if (quoted !== undefined) return quoted;
  if (untrusted && interpreted) {
    const rest = line.slice(match.index + match[0].length - bare!.length);
    // A command line is all that its record has, and may hold anything.
    return key === "proctitle" ? rest.trimEnd() : /^.*?(?=\s+[\w-]+=|\s*$)/.exec(rest)![0];
  }
  const isHex = untrusted && /^(?:[0-9A-F]{2})+$/.test(bare!);
  return isHex ? Buffer.from(bare!, "hex").toString() : bare!.replace(/['"\p{Cc}].*$/u, "");
}
