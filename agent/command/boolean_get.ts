import { booleans } from "../label/boolean.ts";
import { STORAGE_BOOLEANS } from "../label/mount.ts";
import { INHERITED_NFS, NoSelinuxError } from "../label/ready.ts";
import { kernel } from "../label/selinux.ts";
import { type Arguments, EXIT, UsageError } from "./command.ts";
import { table, type Terminal } from "./terminal.ts";

/** Those that let guests open what has no label, and those of our module. */
const NAMES = [
  ...STORAGE_BOOLEANS,
  INHERITED_NFS,
  "svirt_agent_set_booleans",
  "svirt_agent_read_audit",
  "svirt_agent_use_devices",
];

/** Prints booleans as they are and as they will be. */
export function run({ operands, options }: Arguments, terminal: Terminal): Promise<number> {
  requireSelinux();
  const found = (operands.length > 0 ? operands : NAMES).flatMap((name) => {
    const state = booleans.read(name);
    if (state === undefined && operands.length > 0) throw unknownBoolean(name);
    return state ?? [];
  });
  if (options["json"] === true) {
    terminal.out(JSON.stringify({ schemaVersion: 1, booleans: found }, null, 2));
  } else {
    const word = (value: boolean | null) => value === null ? "?" : value ? "on" : "off";
    const rows = found.map((
      { name, active, pending, persistent },
    ) => [name, word(active), word(pending), word(persistent)]);
    for (const line of table([["BOOLEAN", "ACTIVE", "PENDING", "PERSISTENT"], ...rows])) {
      terminal.out(line);
    }
  }
  return Promise.resolve(EXIT.asExpected);
}

/** @throws `NoSelinuxError` where there are no booleans to ask for. */
export function requireSelinux(): void {
  if (kernel.mode() !== "disabled") return;
  throw new NoSelinuxError(
    "SELinux is disabled on this host: it has no booleans",
    "To see the agent work all the same: npm start",
  );
}

/** The policy has no such boolean. */
export function unknownBoolean(name: string): UsageError {
  return new UsageError(`The policy has no boolean "${name}"`, "List them: getsebool -a");
}
