import { constants } from "node:fs";
import { fchown } from "../../ffi/libc_owner.ts";
import { type Credential, withFilesystemCredential } from "../../ffi/libc_process.ts";
import { SystemError } from "../../ffi/errno.ts";
import type { OwnedFd } from "../owned_fd.ts";
import { type Folder, openBeneath, requireSame } from "./folder.ts";
import { shellWord } from "./image_error.ts";
import type { Inspected } from "./inspect.ts";
import { claim } from "./claim.ts";
import { lockImage } from "./lock.ts";
import { writeOwner } from "./owner.ts";
import { isDevice, openPrivateNode } from "./private_node.ts";
import { openToLook } from "./squash.ts";

/** A file opened for a guest; disposing of it closes the agent's descriptors, not the guest's. */
export interface OpenImage extends Inspected, Disposable {
  readonly ro: OwnedFd;
  /** For an image that the guest may write. */
  readonly rw: OwnedFd | undefined;
  /** Uid that opened them: whom an NFS server sees for as long as they are open. */
  readonly openedAs: number;
  /** The one of them that carries the locks, which last as long as anybody holds it. */
  readonly locked: OwnedFd;
  /**
   * The host's own node of a block device, locked as well: locks belong to a node, and other programs
   * open this one. They last as long as an agent holds it, because the guest must not have it.
   */
  readonly hostNode?: OwnedFd;
}

/** Duplicates of what the agent keeps of a file; the caller owns them. */
export function keep(
  { ro, locked, hostNode }: Pick<OpenImage, "ro" | "locked" | "hostNode">,
): Pick<OpenImage, "ro" | "locked" | "hostNode"> {
  const made: OwnedFd[] = [];
  const duplicate = (fd: OwnedFd) => {
    const it = fd.duplicate();
    made.push(it);
    return it;
  };
  try {
    return {
      ro: duplicate(ro),
      locked: duplicate(locked),
      ...(hostNode && { hostNode: duplicate(hostNode) }),
    };
  } catch (error) {
    for (const fd of made) fd[Symbol.dispose]();
    throw error;
  }
}

const READABLE_BY_ALL = 0o004;

/**
 * Does this file have to change owner, so that QEMU's user can open it? One that several guests share
 * never does: it has to be readable as it is.
 */
export function needsOwner({ layer, uid, mode }: Inspected, credential: Credential): boolean {
  if (isDevice(layer) || uid === credential.uid || layer.shared) return false;
  return layer.access === "rw" || (mode & READABLE_BY_ALL) === 0;
}

/**
 * Opens the descriptors that the guest gets, with QEMU's credential, because an NFS server goes by
 * whoever opened a file for as long as it is open; and locks them.
 *
 * Each mode is an open file of its own: QEMU serves an open only from a descriptor with exactly
 * that mode. The owner changes first where {@linkcode needsOwner}; its undo has to be recorded.
 *
 * @throws `ImageError` `replaced`, `in-use`; `SystemError` `EACCES` with what to do about it.
 */
export function openImage(
  found: Inspected,
  credential: Credential,
  folders: readonly Folder[],
): OpenImage {
  const { layer, identity } = found;
  using owned = needsOwner(found, credential) ? give(found, credential, folders) : undefined;
  // QEMU from 9.1 wants O_DIRECT on the descriptor itself; before, it would set it on ours.
  const direct = layer.image.cache === "none" ? constants.O_DIRECT : 0;
  const opened: OwnedFd[] = [];
  const own = (fd: OwnedFd) => {
    opened.push(fd);
    requireSame(fd, identity, layer.path);
    return fd;
  };
  const open = (mode: number) =>
    own(
      isDevice(layer)
        ? openPrivateNode(layer.privateNode, mode | direct)
        : openBeneath(folders, layer.path, mode | direct),
    );
  const openReadOnly = () => {
    if (!isDevice(layer)) return open(constants.O_RDONLY);
    const claimed = claim(layer.path, (flags) => open(constants.O_RDONLY | flags));
    if (!layer.shared) return claimed;
    // Of guests that share it none may keep it from the others.
    claimed[Symbol.dispose]();
    return open(constants.O_RDONLY);
  };
  try {
    const [ro, rw] = withFilesystemCredential(credential, () =>
      [
        openReadOnly(),
        layer.access === "rw" ? open(constants.O_RDWR) : undefined,
      ] as const);
    const locked = rw ?? ro;
    lockImage(locked, layer.access);
    const hostNode = isDevice(layer)
      ? own(openBeneath(folders, layer.path, constants.O_RDONLY))
      : undefined;
    if (hostNode !== undefined) lockImage(hostNode, layer.access);
    const dispose = () => opened.forEach((fd) => fd[Symbol.dispose]());
    return {
      ...found,
      ...{ ro, rw, openedAs: credential.uid, locked },
      ...(hostNode && { hostNode }),
      [Symbol.dispose]: dispose,
    };
  } catch (error) {
    for (const fd of opened) fd[Symbol.dispose]();
    if (owned !== undefined) disown(owned, found);
    if (!(error instanceof SystemError)) throw error;
    const hint = hintFor(error.code, layer.path, layer.access, credential);
    throw hint === undefined ? error : error.withHint(hint);
  }
}

/** @returns What it was done by; the caller owns it. */
function give(found: Inspected, { uid, gid }: Credential, folders: readonly Folder[]): OwnedFd {
  const { path } = found.layer;
  const fd = openToLook(folders, path);
  try {
    requireSame(fd, found.identity, path);
    fchown(fd.number, uid, gid, path);
    return fd;
  } catch (error) {
    fd[Symbol.dispose]();
    if (!(error instanceof SystemError) || error.code !== "EPERM") throw error;
    throw error.withHint(
      `The NFS server squashes root. Give it to QEMU's user there: chown ${uid}:${gid} ` +
        shellWord(path),
    );
  }
}

/** By the same descriptor: whoever goes by the path may meet another file there by now. */
function disown(fd: OwnedFd, found: Inspected): void {
  try {
    writeOwner(fd, found);
  } catch {
    // The undo that was recorded tries again, and tells when it fails.
  }
}

function hintFor(
  code: string,
  path: string,
  access: string,
  { uid, gid }: Credential,
): string | undefined {
  if (code === "EINVAL") {
    return 'This filesystem has no O_DIRECT. Set cache = "writeback" for the image.';
  }
  if (code !== "EACCES") return undefined;
  const mode = access === "rw" ? "u+rw" : "g+r";
  const owner = access === "rw" ? `${uid}` : `:${gid}`;
  return `It is opened as QEMU's user (uid ${uid}), who may not. Its folders need x for that ` +
    `user; for the file: chown ${owner} ${shellWord(path)} && chmod ${mode} ${shellWord(path)}`;
}
