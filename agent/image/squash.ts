/**
 * NFS servers that take root for nobody (`root_squash`, the default of exports(5)): what root may
 * not do there, the owner of the images may.
 *
 * @module
 */

import { constants } from "node:fs";
import { posix } from "node:path";
import { SystemError } from "../../ffi/errno.ts";
import { lstatx } from "../../ffi/libc.ts";
import { type Credential, withFilesystemCredential } from "../../ffi/libc_process.ts";
import { booleanOf, mountOf } from "../label/mount.ts";
import type { OwnedFd } from "../owned_fd.ts";
import { type Folder, openBeneath, openParent } from "./folder.ts";
import { shellWord } from "./image_error.ts";

/**
 * Opens an image read-only for the agent itself, to look at it or to put it back. Never for a guest:
 * what that gets is opened with QEMU's credential, or it would be somebody else's in the server's eyes.
 *
 * @param folders Lent.
 * @throws What {@linkcode openBeneath} throws.
 */
export function openToLook(folders: readonly Folder[], path: string): OwnedFd {
  const open = () => openBeneath(folders, path, constants.O_RDONLY);
  try {
    return open();
  } catch (error) {
    if (!(error instanceof SystemError) || error.code !== "EACCES") throw error;
    using folder = openParent(folders, path);
    if (!isSquashable(folder)) throw error;
    const owner = ownerOf(folder, posix.basename(path));
    if (owner.uid !== 0) return withFilesystemCredential(owner, open);
    throw error.withHint(
      "The NFS server squashes root. Give it to QEMU's user there: chown USER " + shellWord(path),
    );
  }
}

/**
 * Makes or removes a name in a folder as root, and where an NFS server refuses that, as `user`.
 *
 * @param folder Lent.
 */
export function orAs<T>(folder: OwnedFd, user: () => Credential, work: () => T): T {
  try {
    return work();
  } catch (error) {
    const { code } = error as { code?: string };
    if ((code !== "EACCES" && code !== "EPERM") || !isSquashable(folder)) throw error;
    return withFilesystemCredential(user(), work);
  }
}

/** As whom a file can be read, if its owner can. */
export function ownerOf(folder: OwnedFd, name: string): Credential {
  const { uid, gid } = lstatx(folder.number, name);
  return { uid, gid, groups: [] };
}

/** On a local filesystem nothing is refused to root but by SELinux, which goes by no user. */
function isSquashable(folder: OwnedFd): boolean {
  return booleanOf(mountOf(folder).fsType) === "virt_use_nfs";
}
