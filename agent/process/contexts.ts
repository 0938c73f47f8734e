import { readdirSync, readFileSync } from "node:fs";

/** A process and its security context. */
export interface ProcessContext {
  readonly pid: number;
  readonly context: string;
}

/** The contexts of all processes; one that ends meanwhile is left out. /proc/PID/attr/current */
export function processContexts(): ProcessContext[] {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map(Number);
  return pids.flatMap((pid) => {
    try {
      const context = readFileSync(`/proc/${pid}/attr/current`, "utf8").replace(/\0.*$/s, "");
      return context === "" ? [] : [{ pid, context }];
    } catch {
      return [];
    }
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
