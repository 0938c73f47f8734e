import {
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmdirSync,
  writeSync,
} from "node:fs";

const ROOT = "/sys/fs/cgroup/svirt-agent";

/** The cgroup (v2) of one guest: whatever QEMU forks stays in it; cgroups(7). */
export interface Cgroup {
  readonly path: string;
  /** File that a process joins by writing its pid to. */
  readonly procs: string;
}

/** Names a guest's cgroup; nothing is made yet. */
export function cgroupOf(guest: string): Cgroup {
  const path = `${ROOT}/${guest}`;
  return { path, procs: `${path}/cgroup.procs` };
}

/** Makes the cgroup; one left over from before is used again. */
export function createCgroup({ path }: Cgroup): void {
  mkdirSync(path, { recursive: true });
}

/** Pids of the processes in it; none when it does not exist. */
export function membersOf({ procs }: Cgroup): number[] {
  if (!existsSync(procs)) return [];
  return readFileSync(procs, "utf8").split("\n").filter(Boolean).map(Number);
}

/**
 * Is anything of a process left in it? One that dies is no member any more while its last threads
 * still keep the cgroup from being removed.
 */
export function isPopulated({ path }: Cgroup): boolean {
  if (!existsSync(path)) return false;
  return /^populated 1$/m.test(readFileSync(`${path}/cgroup.events`, "utf8"));
}

/** Moves this process into it. */
export function join(procs: string): void {
  writeControl(procs, `${process.pid}`);
}

/** Without O_CREAT, which node:fs adds to a plain write and the agent's domain may not. */
function writeControl(path: string, text: string): void {
  const fd = openSync(path, constants.O_WRONLY);
  try {
    writeSync(fd, text);
  } finally {
    closeSync(fd);
  }
}

/** Sends SIGKILL to all of it at once, so that nothing can fork away; cgroup.kill, Linux 5.14. */
export function killAll({ path }: Cgroup): void {
  if (existsSync(path)) writeControl(`${path}/cgroup.kill`, "1");
}

/** Removes it once it is empty; `EBUSY` while it is not. */
export function removeCgroup({ path }: Cgroup): void {
  if (existsSync(path)) rmdirSync(path);
}
