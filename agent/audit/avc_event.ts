import { posix } from "node:path";
import { type Denial, fieldOf } from "./avc.ts";

/** Lines of the records that stand beside a denial in its event. */
export interface EventRecords {
  syscall?: string;
  cwd?: string;
  proctitle?: string;
  readonly paths: string[];
}

/** What these records tell about a denial. */
export interface Companions {
  readonly exe?: string;
  /** By name where auditd or ausearch looked it up, else its number. */
  readonly syscall?: string;
  /** Whole path of what was denied, where the denial itself has but the last name. */
  readonly fullPath?: string;
  /** What QEMU calls itself, by its command line: it may lie. */
  readonly guest?: string;
}

/** By their names, and by their numbers as in the kernel's log. */
const TYPES: ReadonlyMap<string, keyof EventRecords> = new Map([
  ["SYSCALL", "syscall"],
  ["1300", "syscall"],
  ["PATH", "paths"],
  ["1302", "paths"],
  ["CWD", "cwd"],
  ["1307", "cwd"],
  ["PROCTITLE", "proctitle"],
  ["1327", "proctitle"],
]);

/** Which of the companions a record is by its type; `undefined` for all others. */
export function companionType(type: string): keyof EventRecords | undefined {
  return TYPES.get(type);
}

/** Reads the records of one event for one of its denials. */
export function companionsOf(records: EventRecords, denial: Denial): Companions {
  const { syscall: line = "", proctitle = "" } = records;
  const exe = fieldOf(line, "exe", isInterpreted(line));
  const syscall = /\bSYSCALL=(\w+)/.exec(line)?.[1] ?? fieldOf(line, "syscall");
  const fullPath = denial.path === undefined ? pathOf(records, denial) : undefined;
  const title = fieldOf(proctitle, "proctitle", isInterpreted(proctitle));
  const guest = /[\0 ]-name[\0 ](?:guest=)?([^,\0 ]+)/.exec(title ?? "")?.[1];
  return {
    ...(exe !== undefined && { exe }),
    ...(syscall !== undefined && { syscall }),
    ...(fullPath !== undefined && { fullPath }),
    ...(guest !== undefined && { guest }),
  };
}

/** Of the PATH records that of the same inode, or of the same last name. */
function pathOf({ paths, cwd }: EventRecords, { ino, name }: Denial): string | undefined {
  for (const line of paths) {
    const interpreted = isInterpreted(line);
    const path = fieldOf(line, "name", interpreted);
    if (path === undefined || path === "(null)") continue;
    const inode = fieldOf(line, "inode");
    const isIt = ino !== undefined && inode !== undefined
      ? Number(inode) === ino
      : name !== undefined && posix.basename(path) === name;
    if (!isIt) continue;
    const folder = fieldOf(cwd ?? "", "cwd", isInterpreted(cwd ?? ""));
    if (posix.isAbsolute(path)) return path;
    return folder === undefined ? undefined : posix.join(folder, path);
  }
  return undefined;
}

/** `ausearch -i` writes a space before the colon. */
function isInterpreted(line: string): boolean {
  return /audit\([^)]*\) :/.test(line);
}
