import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { SystemError } from "../../ffi/errno.ts";
import {
  AT_FDCWD,
  close,
  fdatasync,
  fstatx,
  openat2,
  pwrite,
  RESOLVE_NO_SYMLINKS,
  unlinkat,
} from "../../ffi/libc.ts";

/** Space kept for recording revocations on a full disk: a few hundred records. */
export const RESERVE_BYTES: number = 64 << 10;

/** Is the error that the filesystem, or the quota of the log's owner, is full? */
export function isFull(error: unknown): error is SystemError {
  return error instanceof SystemError && (error.code === "ENOSPC" || error.code === "EDQUOT");
}

/**
 * Keeps the reserve of a log: a file beside it, `LOG.reserve`, that is there to be deleted.
 *
 * It is a promise as far as the filesystem makes one: where deleting a file needs space itself
 * (copy-on-write), or another process is quicker, the space may not come back to the log.
 *
 * @returns False when the disk is too full for it, which is no error: a log must open even then.
 * @throws {@linkcode SystemError} when the file cannot be made for another reason.
 */
export function keepReserve(log: string): boolean {
  const path = nameFor(log);
  const flags = constants.O_RDWR | constants.O_CREAT | constants.O_NONBLOCK;
  let fd: number | undefined;
  try {
    fd = openat2(AT_FDCWD, path, { flags, mode: 0o600, resolve: RESOLVE_NO_SYMLINKS });
    if (fstatx(fd).size >= RESERVE_BYTES) return true;
    // Random bytes: a filesystem that compresses would keep next to nothing for zeros.
    pwrite(fd, randomBytes(RESERVE_BYTES), 0);
    fdatasync(fd);
    return true;
  } catch (error) {
    if (isFull(error)) {
      spendReserve(log);
      return false;
    }
    if (!(error instanceof SystemError)) throw error;
    throw new SystemError(error.operation, error.errno, {
      path,
      hint: "The audit log needs this file to record revocations on a full disk. " +
        "Let the agent create files in the folder of its log.",
    });
  } finally {
    if (fd !== undefined) close(fd);
  }
}

/** Deletes the reserve; false when it was spent already. */
export function spendReserve(log: string): boolean {
  try {
    unlinkat(AT_FDCWD, nameFor(log));
    return true;
  } catch (error) {
    if (error instanceof SystemError && error.code === "ENOENT") return false;
    throw error;
  }
}

function nameFor(log: string): string {
  return `${log}.reserve`;
}
