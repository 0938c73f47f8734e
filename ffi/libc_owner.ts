/**
 * libc.so.6: owner, mode and extended attributes of an open file, as its man pages declare them.
 *
 * @module
 */

import koffi from "koffi";
import { bind } from "./check.ts";
import { SystemError } from "./errno.ts";

/** The functions of libc.so.6 that this file calls. */
interface Libc {
  fchown(fd: number, owner: number, group: number): number;
  fchmod(fd: number, mode: number): number;
  fgetxattr(fd: number, name: string, value: Uint8Array | null, size: number): number | bigint;
  fsetxattr(fd: number, name: string, value: Uint8Array, size: number, flags: number): number;
}

let loaded: Libc | undefined;

function libc(): Libc {
  if (loaded !== undefined) return loaded;
  const so = koffi.load("libc.so.6");
  // deno-fmt-ignore
  loaded = {
    fchown:    bind(so, "int fchown(int fd, unsigned int owner, unsigned int group)"),                                 // chown(2)
    fchmod:    bind(so, "int fchmod(int fd, unsigned int mode)"),                                                      // chmod(2)
    fgetxattr: bind(so, "int64_t fgetxattr(int fd, const char *name, void *value, size_t size)"),                      // getxattr(2)
    fsetxattr: bind(so, "int fsetxattr(int fd, const char *name, const void *value, size_t size, int flags)"),         // setxattr(2)
  };
  return loaded;
}

/** chown(2) by descriptor; `EPERM` behind an NFS export that squashes root. */
export function fchown(fd: number, uid: number, gid: number, path?: string): void {
  if (libc().fchown(fd, uid, gid) !== 0) {
    throw SystemError.last("fchown", { path: path ?? `fd ${fd}` });
  }
}

/** chmod(2) by descriptor; bits above 07777 are not part of a mode. */
export function fchmod(fd: number, mode: number, path?: string): void {
  if (libc().fchmod(fd, mode & 0o7777) !== 0) {
    throw SystemError.last("fchmod", { path: path ?? `fd ${fd}` });
  }
}

/** An extended attribute; getxattr(2). `undefined`: the file or its filesystem has none of that name. */
export function fgetxattr(fd: number, name: string, path?: string): Uint8Array | undefined {
  // XATTR_SIZE_MAX of <linux/limits.h>
  const value = new Uint8Array(65536);
  const size = Number(libc().fgetxattr(fd, name, value, value.length));
  if (size >= 0) return value.slice(0, size);
  const error = SystemError.last("fgetxattr", { path: path ?? `fd ${fd}` });
  if (error.code === "ENODATA" || error.code === "EOPNOTSUPP") return undefined;
  throw error;
}

/** Sets an extended attribute, whether or not the file has it already; setxattr(2). */
export function fsetxattr(fd: number, name: string, value: Uint8Array, path?: string): void {
  if (libc().fsetxattr(fd, name, value, value.length, 0) !== 0) {
    throw SystemError.last("fsetxattr", { path: path ?? `fd ${fd}` });
  }
}
