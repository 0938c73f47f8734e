import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

/**
 * Waits until no other process holds `file`, then holds it until disposed.
 *
 * The file contains its holder's process id, so that the lock of a killed build is taken over.
 *
 * @param waiting Called once when somebody else holds it.
 */
export async function lock(file: string, waiting: (pid: number) => void): Promise<Disposable> {
  let told = false;
  while (!tryCreate(file)) {
    const holder = Number(readOrEmpty(file));
    if (holder > 0 && !isAlive(holder)) {
      rmSync(file, { force: true });
      continue;
    }
    if (!told) waiting(holder);
    told = true;
    await sleep(300);
  }
  return { [Symbol.dispose]: () => rmSync(file, { force: true }) };
}

function tryCreate(file: string): boolean {
  try {
    writeFileSync(file, String(process.pid), { flag: "wx" });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

/** Empty when its holder has just let go, or has created it and not yet written to it. */
function readOrEmpty(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}
