import { constants } from "node:fs";
import { SystemError } from "../../ffi/errno.ts";
import type { OwnedFd } from "../owned_fd.ts";
import { ImageError, shellWord } from "./image_error.ts";

/**
 * Opens a block device and claims it, as mount(2) does: while anybody holds the open file, the host
 * can neither mount the device, a partition of it or the disk that it is a partition of, nor use it
 * for LVM, RAID or swap. open(2), `O_EXCL` without `O_CREAT`.
 *
 * Unlike a lock the claim is the device's own, whatever node it was opened through.
 *
 * @param path Of the host's node, for messages.
 * @throws `ImageError` `in-use` when somebody has claimed it.
 */
export function claim(path: string, open: (flags: number) => OwnedFd): OwnedFd {
  try {
    return open(constants.O_EXCL);
  } catch (error) {
    if (!(error instanceof SystemError) || error.code !== "EBUSY") throw error;
    const what =
      "is in use: it, its disk or a partition of it is mounted, part of a volume group " +
      "or an array, swap, or another guest's";
    const word = shellWord(path);
    throw new ImageError("in-use", path, what, {
      hint: `Find out: lsblk -s ${word}; lsblk ${word}; svirt-agent guest list`,
    });
  }
}
