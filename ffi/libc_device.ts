/**
 * libc.so.6: block devices and their nodes, as its man pages declare them.
 *
 * @module
 */

import { constants } from "node:fs";
import koffi from "koffi";
import { bind } from "./check.ts";
import { SystemError } from "./errno.ts";

/** The functions of libc.so.6 that this file calls. */
interface Libc {
  ioctl(fd: number, request: number, ...typed: unknown[]): number;
  lseek(fd: number, offset: number, whence: number): number | bigint;
  mknodat(dirfd: number, path: string, mode: number, device: number | bigint): number;
  gnu_dev_makedev(major: number, minor: number): number | bigint;
}

let loaded: Libc | undefined;

function libc(): Libc {
  if (loaded !== undefined) return loaded;
  const so = koffi.load("libc.so.6");
  // deno-fmt-ignore
  loaded = {
    ioctl:   bind(so, "int ioctl(int fd, unsigned long request, ...)"),                             // ioctl(2)
    lseek:   bind(so, "int64_t lseek(int fd, int64_t offset, int whence)"),                         // lseek(2)
    mknodat: bind(so, "int mknodat(int dirfd, const char *path, unsigned int mode, uint64_t dev)"), // mknod(2)
    gnu_dev_makedev: bind(so, "uint64_t gnu_dev_makedev(unsigned int major, unsigned int minor)"),  // makedev(3)
  };
  return loaded;
}

const SEEK_END = 2;
/** <scsi/sg.h> */
const SG_GET_VERSION_NUM = 0x2282;

/**
 * Do SCSI commands reach a device through this descriptor? Asked by `SG_GET_VERSION_NUM`, which changes nothing: not through a partition, nor a part of a disk by device mapper.
 */
export function takesScsiCommands(fd: number): boolean {
  if (libc().ioctl(fd, SG_GET_VERSION_NUM, "void *", new Uint8Array(8)) === 0) return true;
  const error = SystemError.last("ioctl SG_GET_VERSION_NUM", { path: `fd ${fd}` });
  if (error.code === "ENOTTY" || error.code === "EINVAL") return false;
  throw error;
}

/** Bytes of a file or a block device; lseek(2) with `SEEK_END`, which moves the file offset. */
export function sizeOf(fd: number): bigint {
  const size = libc().lseek(fd, 0, SEEK_END);
  if (size < 0) throw SystemError.last("lseek", { path: `fd ${fd}` });
  return BigInt(size);
}

/**
 * Makes a block device node in a directory that the caller holds; mknod(2).
 *
 * @param mode Permissions, from which the process's umask is taken.
 * @throws {@linkcode SystemError} `EPERM` without CAP_MKNOD, as in most containers, and where the
 * filesystem takes no device nodes.
 */
export function mknodat(
  dirfd: number,
  path: string,
  mode: number,
  major: number,
  minor: number,
): void {
  const device = libc().gnu_dev_makedev(major, minor);
  if (libc().mknodat(dirfd, path, constants.S_IFBLK | mode, device) === 0) return;
  throw SystemError.last("mknodat", { path });
}
