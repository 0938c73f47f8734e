import { constants, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { O_ACCMODE, statx } from "../../ffi/libc.ts";
import { type Access, type Identity, identityOf } from "../owned_fd.ts";

/** One open file of another process; proc_pid_fd(5), proc_pid_fdinfo(5). */
export interface Descriptor {
  readonly number: number;
  /** What the link says; for messages, a name may have moved since. */
  readonly path: string;
  readonly identity: Identity;
  /** Of its mount, the first field of /proc/self/mountinfo. */
  readonly mountId: bigint;
  readonly access: Access;
  /** A file or a block device: what may be an image. */
  readonly isRegular: boolean;
  readonly isBlock: boolean;
}

/**
 * Every regular file and device that a process holds open.
 *
 * @returns An empty list once the process is gone.
 */
export function descriptorsOf(pid: number): Descriptor[] {
  return entries(`/proc/${pid}/fd`).flatMap((name) => descriptorOf(pid, Number(name)) ?? []);
}

/** One of them, by its number; `undefined` when it is closed, a socket or a pipe. */
export function descriptorOf(pid: number, number: number): Descriptor | undefined {
  try {
    const path = readlinkSync(`/proc/${pid}/fd/${number}`);
    if (!path.startsWith("/")) return undefined;
    const stat = statx(`/proc/${pid}/fd/${number}`);
    const type = stat.mode & constants.S_IFMT;
    const flags = /^flags:\s*([0-7]+)/m.exec(
      readFileSync(`/proc/${pid}/fdinfo/${number}`, "utf8"),
    );
    const readOnly = (parseInt(flags?.[1] ?? "2", 8) & O_ACCMODE) === constants.O_RDONLY;
    return {
      number,
      path,
      identity: identityOf(stat),
      mountId: stat.mountId,
      access: readOnly ? "ro" : "rw",
      isRegular: type === constants.S_IFREG || type === constants.S_IFBLK,
      isBlock: type === constants.S_IFBLK,
    };
  } catch (error) {
    if (["ENOENT", "ESRCH"].includes((error as { code?: string }).code ?? "")) return undefined;
    throw error;
  }
}

function entries(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if (["ENOENT", "ESRCH"].includes((error as { code?: string }).code ?? "")) return [];
    throw error;
  }
}
