import { readdirSync, readFileSync } from "node:fs";
import { type ContextOut, libselinux } from "../../ffi/libselinux.ts";

/** A process and its security context. */
export interface ProcessContext {
  readonly pid: number;
  readonly context: string;
}

/** The contexts of all processes; one that ends meanwhile is left out. getcon(3) */
export function processContexts(): ProcessContext[] {
  const { getpidcon_raw } = libselinux();
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map(Number);
  return pids.flatMap((pid) => {
    const con: ContextOut = [null];
    return getpidcon_raw(pid, con) === 0 && con[0] ? [{ pid, context: con[0] }] : [];
  });
}

/** Field 22 of /proc/PID/stat, clock ticks since boot; `undefined` once the process is gone. */
export function startTimeOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The name of the program, in parentheses, may hold spaces and parentheses itself.
    return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]);
  } catch {
    return undefined;
  }
}
