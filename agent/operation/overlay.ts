import { constants } from "node:fs";
import { constants as os } from "node:os";
import { randomBytes } from "node:crypto";
import { posix } from "node:path";
import {
  lstatx,
  openat2,
  RENAME_NOREPLACE,
  renameat2,
  RESOLVE_BENEATH,
  RESOLVE_NO_SYMLINKS,
  unlinkat,
} from "../../ffi/libc.ts";
import { SystemError } from "../../ffi/errno.ts";
import { fchown } from "../../ffi/libc_owner.ts";
import type { Credential } from "../../ffi/libc_process.ts";
import type { AttachedImage } from "../attached_guest.ts";
import { RefusedError } from "../refused_error.ts";
import type { Host } from "../host.ts";
import { openParent, requireSame } from "../image/folder.ts";
import { type Inspected, inspectLayer } from "../image/inspect.ts";
import type { Layer } from "../image/layer.ts";
import { orAs, ownerOf } from "../image/squash.ts";
import { labelFor } from "../label/assign.ts";
import { type Identity, identityOf, OwnedFd } from "../owned_fd.ts";

/**
 * The layer that is to lie on top of an image: beside it, named after it, with a time and six random
 * digits, so that whatever has that name later was made by this operation.
 *
 * @param folder Where it is to lie instead.
 * @throws {@linkcode RefusedError} for a block device without a `folder`.
 */
export function planOverlay(
  { layer: { privateNode, ...layer } }: AttachedImage,
  fdset: number,
  now: Date,
  folder?: string,
): Layer {
  const { name } = posix.parse(layer.image.path);
  if (privateNode !== undefined && folder === undefined) {
    throw new RefusedError(
      `image "${layer.image.name}" is the block device "${layer.path}": its overlay, a file, cannot lie beside it`,
      "Name an allowed folder for it: --overlay-in FOLDER",
    );
  }
  const dir = folder ?? posix.dirname(layer.path);
  const time = now.toISOString().replace(/[-:]|\.\d+/g, "");
  const path = `${dir}/${name}.${time}-${randomBytes(3).toString("hex")}.qcow2`;
  const node = `${layer.image.name}.s${fdset}`;
  return { ...layer, depth: 0, path, format: "qcow2", access: "rw", shared: false, fdset, node };
}

/**
 * Makes the overlay's file, which must not exist: empty, QEMU's user's, and from its first instant
 * with the label that the guest may write.
 */
export function createOverlay(
  layer: Layer,
  level: string,
  credential: Credential,
  { folders, selinux }: Host,
  mode = 0o600,
): Inspected {
  using folder = openParent(folders, layer.path);
  const how = {
    // Never for writing: what NFS delegates to root's open, the guest could use behind a fence.
    flags: constants.O_RDONLY | constants.O_CREAT | constants.O_EXCL,
    mode,
    resolve: RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
  };
  const create = () => openat2(folder.number, posix.basename(layer.path), how);
  const label = labelFor(layer, level);
  const asWhom = () => credential;
  using fd = new OwnedFd(
    orAs(folder, asWhom, () => selinux.creatingAs(label, create)),
    layer.path,
  );
  const { identity } = fd;
  try {
    const { uid, gid } = fd.stat();
    if (uid !== credential.uid || gid !== credential.gid) {
      fchown(fd.number, credential.uid, credential.gid, layer.path);
    }
    const found = inspectLayer(layer, folders, selinux);
    // By name again: what has it now may be another guest's image, which nobody would ask about.
    requireSame(fd, found.identity, layer.path);
    return found;
  } catch (error) {
    try {
      unlinkIn(folder, layer.path, identity);
    } catch {
      // The first error tells more; the name is in the log, and goes with the operation.
    }
    throw error;
  }
}

/**
 * Removes an overlay that holds no data; one that is not there is no error.
 *
 * @param identity Of the file that the operation made; `null` when it had got no further than its
 * name: then only an empty file is removed, because that is all it can have made.
 */
export function unlinkOverlay(path: string, identity: Identity | null, host: Host): string[] {
  try {
    return removeOverlay(path, identity, host);
  } catch (error) {
    return [`${(error as Error).message}`];
  }
}

/** The same, for one that must not stay: throws the `SystemError` of unlinkat(2). */
export function removeOverlay(
  path: string,
  identity: Identity | null,
  { folders }: Pick<Host, "folders">,
): string[] {
  try {
    using folder = openParent(folders, path);
    return unlinkIn(folder, path, identity);
  } catch (error) {
    if ((error as { code?: string }).code === "ENOENT") return [];
    throw error;
  }
}

function unlinkIn(folder: OwnedFd, path: string, identity: Identity | null): string[] {
  const name = posix.basename(path);
  const isOurs = (name: string) => {
    const is = lstatx(folder.number, name);
    if (identity !== null) return identityOf(is) === identity;
    return (is.mode & constants.S_IFMT) === constants.S_IFREG && is.size === 0n;
  };
  const leftAlone = [`${path} is another file now: left alone`];
  try {
    if (!isOurs(name)) return leftAlone;
    // Linux removes names, not files: what got the overlay's name since would go in its place. Under
    // a name that nobody knows it is looked at again.
    const aside = `.${name}.${randomBytes(6).toString("hex")}`;
    const user = ownerOf(folder, name);
    const change = (work: () => void) => orAs(folder, () => user, work);
    change(() => renameat2(folder.number, name, aside));
    if (!isOurs(aside)) {
      change(() => putBack(folder, aside, name));
      return leftAlone;
    }
    change(() => unlinkat(folder.number, aside));
    return [`removed ${path}`];
  } catch (error) {
    if ((error as { code?: string }).code === "ENOENT") return [];
    throw error;
  }
}

/** @throws `SystemError` `EEXIST` when the name is another file's by now: that one is not replaced. */
function putBack(folder: OwnedFd, from: string, to: string): void {
  try {
    renameat2(folder.number, from, to, RENAME_NOREPLACE);
  } catch (error) {
    if (!(error instanceof SystemError) || error.code !== "EINVAL") throw error;
    // NFS. Not by a second link: the name that goes would stay as .nfsXXXX while the file is open.
    if (isThere(folder, to)) throw new SystemError("renameat2", os.errno.EEXIST, { path: to });
    renameat2(folder.number, from, to);
  }
}

function isThere(folder: OwnedFd, name: string): boolean {
  try {
    lstatx(folder.number, name);
    return true;
  } catch (error) {
    if ((error as { code?: string }).code === "ENOENT") return false;
    throw error;
  }
}
