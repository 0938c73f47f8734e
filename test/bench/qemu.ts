import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { hostCommand } from "../lab/host_command.ts";
import { MissingError } from "./peer.ts";

const PROGRAM = "qemu-system-x86_64";

/** A QEMU that runs no guest, with a monitor for each contender. */
export interface BenchQemu extends Disposable {
  readonly pid: number;
  readonly monitors: readonly string[];
}

/**
 * Starts QEMU, stopped; disposing of it kills it.
 *
 * @param folder Takes its sockets.
 * @throws {@linkcode MissingError} where there is none.
 */
export async function startQemu(
  folder: string,
  args: readonly string[],
  monitors: readonly string[],
): Promise<BenchQemu> {
  await hostCommand([PROGRAM, "--version"]).catch(() => {
    throw new MissingError(`there is no ${PROGRAM} (Debian: qemu-system-x86)`);
  });
  const paths = monitors.map((name) => join(folder, name));
  const pidFile = join(folder, "pid");
  const machine = ["-nodefaults", "-display", "none", "-S", ...args];
  const sockets = paths.flatMap((path) => ["-qmp", `unix:${path},server=on,wait=off`]);
  // It daemonizes once it listens on all of them.
  await hostCommand([PROGRAM, ...machine, ...sockets, "-daemonize", "-pidfile", pidFile]);
  const pid = Number(readFileSync(pidFile, "utf8"));
  const kill = () => void process.kill(pid, "SIGKILL");
  // An interrupted bench leaves none behind.
  process.once("exit", kill);
  return {
    pid,
    monitors: paths,
    [Symbol.dispose]() {
      process.off("exit", kill);
      kill();
      for (const path of [...paths, pidFile]) rmSync(path, { force: true });
    },
  };
}
