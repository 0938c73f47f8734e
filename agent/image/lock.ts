import { constants } from "node:fs";
import { AT_FDCWD, couldLock, openat2, setLock } from "../../ffi/libc.ts";
import { SystemError } from "../../ffi/errno.ts";
import { type Access, OwnedFd } from "../owned_fd.ts";
import { ImageError, shellWord } from "./image_error.ts";

/**
 * The bytes that QEMU's programs lock to tell each other what they do to an image; block/file-posix.c
 * of QEMU's tree. A read lock on 100 + n says "I use right n", on 200 + n "nobody else may".
 */
const BYTES: Readonly<Record<Access, readonly number[]>> = {
  // reads, writes; nobody else writes or resizes
  rw: [100, 101, 201, 203],
  ro: [100, 201, 203],
};

/** A read lock excludes nobody: whoever does what this byte rules out holds the opposite one. */
function opposite(byte: number): number {
  return byte < 200 ? byte + 100 : byte - 100;
}

/**
 * Locks an image as QEMU would, on the very open file that the guest gets.
 *
 * The lock then lives exactly as long as anybody holds that open file: it survives the agent and
 * ends with QEMU. QEMU itself runs with `locking=off`, because its own locks on separately opened
 * descriptors of one set would conflict with each other.
 *
 * @param fd Lent.
 * @throws {@linkcode ImageError} `in-use` when another program holds the opposite lock.
 */
export function lockImage(fd: OwnedFd, access: Access): void {
  try {
    for (const start of BYTES[access]) {
      setLock(fd.number, { type: "read", start, length: 1 });
      if (!isFree(fd, access, opposite(start))) throw inUse(fd.path, access);
    }
  } catch (error) {
    unlockImage(fd);
    if (error instanceof SystemError && error.code === "EAGAIN") throw inUse(fd.path, access);
    if (error instanceof SystemError && error.code === "ENOLCK") {
      throw error.withHint("The NFS server grants no locks. Is its lock service running?");
    }
    throw error;
  }
}

/** Does nobody else hold this byte? Only a write lock would be refused because of a read lock. */
function isFree(fd: OwnedFd, access: Access, start: number): boolean {
  const wanted = { type: "write", start, length: 1 } as const;
  try {
    return couldLock(fd.number, wanted);
  } catch (error) {
    // NFS 3 asks as whoever opened the file, and its server refuses to say who else locked a file
    // that this user could not write. Root may ask. What a reader holds itself it never asks for.
    if (access === "rw" || (error as { code?: string }).code !== "ENOLCK") throw error;
    const anew = `/proc/self/fd/${fd.number}`;
    const how = { flags: constants.O_RDONLY, resolve: 0n };
    using asRoot = new OwnedFd(openat2(AT_FDCWD, anew, how), fd.path);
    return couldLock(asRoot.number, wanted);
  }
}

/** Takes the locks back before the descriptor's last holder is gone. */
export function unlockImage(fd: OwnedFd): void {
  setLock(fd.number, { type: "unlock", start: 100, length: 104 });
}

function inUse(path: string, access: Access): ImageError {
  const what = access === "rw" ? "uses it" : "writes it";
  return new ImageError("in-use", path, `is in use: another program ${what}`, {
    hint: `Find it: grep ":$(stat -c %i ${shellWord(path)}) " /proc/locks`,
  });
}
