import { fchmod, fchown, fgetxattr, fsetxattr } from "../../ffi/libc_owner.ts";
import type { OwnedFd } from "../owned_fd.ts";

/** Who may do what with a file, apart from SELinux: owner, permissions, ACL. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
  /** As in struct stat. */
  readonly mode: number;
  /** As the filesystem keeps it; absent where the mode is all there is. */
  readonly acl?: Acl;
}

/** An access control list as an extended attribute: acl(5), or that of NFSv4 (RFC 8881 section 6). */
export interface Acl {
  readonly attribute: string;
  /** Hexadecimal. */
  readonly value: string;
}

/** NFSv4 has one for every file; NFSv3 and local filesystems for files that somebody gave one. */
const ACL_ATTRIBUTES = ["system.nfs4_acl", "system.posix_acl_access"] as const;

/**
 * Owner, mode and ACL of an open file.
 *
 * @param fd Lent.
 */
export function readOwner(fd: OwnedFd): Owner {
  const { uid, gid, mode } = fd.stat();
  const acl = readAcl(fd);
  return { uid, gid, mode, ...(acl && { acl }) };
}

function readAcl(fd: OwnedFd): Acl | undefined {
  for (const attribute of ACL_ATTRIBUTES) {
    const value = fgetxattr(fd.number, attribute, fd.path);
    if (value !== undefined) return { attribute, value: Buffer.from(value).toString("hex") };
  }
  return undefined;
}

/**
 * Puts owner, mode and ACL back, each where it differs.
 *
 * The mode comes after the owner, whose change takes set-uid bits away, and after the ACL, of which
 * it is a part; an ACL that is right by then is left alone, because a server may spell it anew.
 *
 * @param fd Lent.
 * @throws `SystemError` `EPERM` behind an export that squashes root.
 */
export function writeOwner(fd: OwnedFd, owner: Owner): void {
  const is = fd.stat();
  if (is.uid !== owner.uid || is.gid !== owner.gid) {
    fchown(fd.number, owner.uid, owner.gid, fd.path);
  }
  if ((fd.stat().mode ^ owner.mode) & 0o7777) fchmod(fd.number, owner.mode, fd.path);
  const { acl } = owner;
  if (acl === undefined || readAcl(fd)?.value === acl.value) return;
  fsetxattr(fd.number, acl.attribute, Buffer.from(acl.value, "hex"), fd.path);
  if ((fd.stat().mode ^ owner.mode) & 0o7777) fchmod(fd.number, owner.mode, fd.path);
}

/** `0:64055 0640` */
export function ownerText({ uid, gid, mode }: Owner): string {
  return `${uid}:${gid} 0${(mode & 0o7777).toString(8)}`;
}
