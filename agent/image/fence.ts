/**
 * The fence: on NFS without labels an image changes owner and mode on the server, which checks every
 * WRITE against them.
 *
 * NFS sends the credential of whoever *opened* the file, so it works only on descriptors that QEMU's
 * user opened; and it shows to every host, backup user and quota, so it is off unless asked for.
 *
 * @module
 */

import { constants } from "node:fs";
import { SystemError } from "../../ffi/errno.ts";
import { ftruncate, pread, pwrite, setStatusFlags, statusFlags } from "../../ffi/libc.ts";
import { fchmod, fchown } from "../../ffi/libc_owner.ts";
import type { Credential } from "../../ffi/libc_process.ts";
import type { StorageClass } from "../label/mount.ts";
import type { OwnedFd } from "../owned_fd.ts";
import { ownerText, readOwner, writeOwner } from "./owner.ts";
import { HintedError } from "../hinted_error.ts";

/** Root's own, readable by QEMU's group: whoever opened it as QEMU's user reads on and writes no more. */
const FENCED_MODE = 0o640;

/** The server goes on letting the guest write; owner and mode are as they were. */
export class FenceError extends HintedError {
  override readonly name = "FenceError";
}

/** Nothing makes a Linux client give a delegation back while the file is in use. */
const DELEGATION_HINT = "This host holds a delegation for it that another user's open was given " +
  "(qemu-img as root?). Have the server delegate nothing (Linux: sysctl fs.leases-enable=0), or this " +
  "host give each back when its file is closed, which a busy one does not always " +
  "(echo 0 > /sys/module/nfsv4/parameters/delegation_watermark); then start the guest anew";

/** Does write access to images on such storage go by the owner, for want of labels? */
export function isFenceable({ boolean, revocation }: StorageClass): boolean {
  return boolean === "virt_use_nfs" && revocation === "reopen";
}

/**
 * Takes write access to a file away on the server, and sees it gone.
 *
 * @param kept Lent: a duplicate of the read-write open file that the guest was handed, to see by.
 * @param openedAs Uid that opened it. Root's descriptors write through any fence.
 * @throws {@linkcode FenceError} when the server does not refuse the guest afterwards; whatever was
 * changed until then is put back.
 */
export function raiseFence(kept: OwnedFd, openedAs: number, { uid, gid }: Credential): void {
  const { path } = kept;
  if (openedAs !== uid || openedAs === 0) {
    throw new FenceError(
      `"${path}" cannot be fenced: its descriptor was opened by uid ${openedAs}, not by QEMU's`,
      "The server goes by whoever opened a file. Attach the guest anew.",
    );
  }
  // Without this a refusal afterwards might be somebody else's.
  const before = rewrite(kept);
  if (before !== "allowed") {
    throw new FenceError(
      `"${path}" cannot be fenced: a write through its descriptor ended with ${before} before`,
      "Is the export or the mount read-only, or the server away?",
    );
  }
  const owner = readOwner(kept);
  try {
    fchown(kept.number, 0, gid, path);
    fchmod(kept.number, FENCED_MODE, path);
    const is = readOwner(kept);
    if (is.uid !== 0 || is.gid !== gid || (is.mode & 0o7777) !== FENCED_MODE) {
      throw new FenceError(
        `"${path}" cannot be fenced: the server made it ${ownerText(is)}`,
        "The export maps owners (all_squash, idmapping): write access is revoked by QEMU alone.",
      );
    }
    const after = rewrite(kept);
    if (after === "EACCES" && resize(kept) === "EACCES") return;
    if (after === "EACCES") {
      throw new FenceError(
        `"${path}" is not fenced: the server refuses writes, and lets its size be changed`,
        DELEGATION_HINT,
      );
    }
    throw new FenceError(
      `"${path}" is not fenced: with owner ${ownerText(is)} a write ended with ${after}`,
      "The server does not go by the owner: write access is revoked by QEMU alone.",
    );
  } catch (error) {
    try {
      writeOwner(kept, owner);
    } catch {
      // The first error tells more; the owner is in the log, and comes back with the guest's end.
    }
    if (!(error instanceof SystemError) || error.code !== "EPERM") throw error;
    throw new FenceError(
      `"${path}" cannot be fenced: the export squashes root (${error.message})`,
      "Export it to this host with no_root_squash; until then write access is revoked by QEMU alone.",
    );
  }
}

/**
 * Makes a file one byte longer, and as long as it was.
 *
 * A write carries the credential of the open file; a change of size carries that of the open which
 * the server delegated the file to this host for, whoever's that was (Linux 6.12, NFS 4.1 and 4.2):
 * ftruncate(2) by a guest went through a fence behind which each of its writes was refused.
 *
 * Whoever dies in between leaves the byte, zero, at the end of a file that the guest could resize itself:
 * qcow2 takes no notice, and QEMU rounds a raw image up to its next sector.
 *
 * @param fd Lent; open for writing.
 * @returns `"allowed"`, or the name of the errno.
 */
export function resize(fd: OwnedFd): string {
  const { size } = fd.stat();
  try {
    // Another size, or the client would not ask the server.
    ftruncate(fd.number, size + 1n);
  } catch (error) {
    if (error instanceof SystemError) return error.code;
    throw error;
  }
  ftruncate(fd.number, size);
  return "allowed";
}

/**
 * Writes the first bytes of a file once more, as they are, past the page cache: on NFS a buffered
 * write succeeds and only fsync(2) would tell.
 *
 * @param fd Lent; open for reading and writing.
 * @returns `"allowed"`, or the name of the errno. `"nothing to write"` for an empty file, of which a
 * write of no bytes would prove nothing.
 */
export function rewrite(fd: OwnedFd): string {
  const flags = statusFlags(fd.number);
  const bytes = new Uint8Array(4096);
  // The flag lands on the guest's open file as well, and goes before anybody else runs.
  setStatusFlags(fd.number, flags | constants.O_DIRECT);
  try {
    const length = pread(fd.number, bytes, 0);
    if (length === 0) return "nothing to write";
    pwrite(fd.number, bytes.subarray(0, length), 0);
    return "allowed";
  } catch (error) {
    if (error instanceof SystemError) return error.code;
    throw error;
  } finally {
    setStatusFlags(fd.number, flags);
  }
}
