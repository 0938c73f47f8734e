import { posix } from "node:path";
import { constants } from "node:fs";
import {
  O_PATH,
  openat2,
  RESOLVE_BENEATH,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
} from "../../ffi/libc.ts";
import { mountOf } from "../label/mount.ts";
import { isBlockDevice, OwnedFd } from "../owned_fd.ts";

/**
 * Opens a block device by a symbolic link of its name, as LVM and udev make them: `/dev/mapper/NAME`
 * stays, while the node that it leads to may be another one after the next boot.
 *
 * Only in /dev, where root alone makes links: the folder that holds the link has to be root's, and both
 * it and the node on the devtmpfs of the allowed folder, so that no link in /dev/shm counts.
 *
 * @param allowed Lent: the allowed folder.
 * @param rest The link's name there.
 * @param flags O_* of open(2).
 * @returns `undefined` where links are not followed; else a descriptor that the caller owns.
 */
export function openByLink(allowed: OwnedFd, rest: string, flags: number): OwnedFd | undefined {
  const { mountId } = allowed.stat();
  if ((flags & constants.O_CREAT) !== 0 || mountOf(allowed).fsType !== "devtmpfs") return undefined;
  const path = posix.join(allowed.path, rest);
  using folder = new OwnedFd(
    openat2(allowed.number, posix.dirname(rest), {
      // Nobody reads it: SELinux may not let the agent do that in /dev/shm.
      flags: O_PATH | constants.O_DIRECTORY,
      resolve: RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    }),
    posix.dirname(path),
  );
  const { uid, mode, mountId: folderMount } = folder.stat();
  if (uid !== 0 || (mode & 0o022) !== 0 || folderMount !== mountId) return undefined;
  const resolve = RESOLVE_NO_MAGICLINKS;
  const fd = new OwnedFd(openat2(folder.number, posix.basename(rest), { flags, resolve }), path);
  const stat = fd.stat();
  if (isBlockDevice(stat) && stat.mountId === mountId) return fd;
  fd[Symbol.dispose]();
  return undefined;
}
