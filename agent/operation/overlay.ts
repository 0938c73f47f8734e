import { constants } from "node:fs";
import { randomBytes } from "node:crypto";
import { posix } from "node:path";
import { lstatx, openat2, RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, unlinkat } from "../../ffi/libc.ts";
import { fchown } from "../../ffi/libc_owner.ts";
import type { Credential } from "../../ffi/libc_process.ts";
import type { AttachedImage } from "../attached_guest.ts";
import type { Host } from "../host.ts";
import { openParent } from "../image/folder.ts";
import { type Inspected, inspectLayer } from "../image/inspect.ts";
import type { Layer } from "../image/layer.ts";
import { orAs, ownerOf } from "../image/squash.ts";
import { labelFor } from "../label/assign.ts";
import { type Identity, identityOf, OwnedFd } from "../owned_fd.ts";

/**
 * The layer that is to lie on top of an image: beside it, named after it, with a time and six random
 * digits, so that whatever has that name later was made by this operation.
 */
export function planOverlay({ layer }: AttachedImage, fdset: number, now: Date): Layer {
  const { dir, name } = posix.parse(layer.image.path);
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
): Inspected {
  using folder = openParent(folders, layer.path);
  const how = {
    flags: constants.O_RDWR | constants.O_CREAT | constants.O_EXCL,
    mode: 0o600,
    resolve: RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
  };
  const create = () => openat2(folder.number, posix.basename(layer.path), how);
  const label = labelFor(layer, level);
  const asWhom = () => credential;
  using fd = new OwnedFd(
    orAs(folder, asWhom, () => selinux.creatingAs(label, create)),
    layer.path,
  );
  const { uid, gid } = fd.stat();
  if (uid !== credential.uid || gid !== credential.gid) {
    fchown(fd.number, credential.uid, credential.gid, layer.path);
  }
  return inspectLayer(layer, folders, selinux);
}

/**
 * Removes an overlay that holds no data; one that is not there is no error.
 *
 * @param identity Of the file that the operation made; `null` when it had got no further than its
 * name, which is random enough to be nobody else's.
 */
export function unlinkOverlay(
  path: string,
  identity: Identity | null,
  { folders }: Host,
): string[] {
  try {
    using folder = openParent(folders, path);
    const name = posix.basename(path);
    const is = identityOf(lstatx(folder.number, name));
    if (identity !== null && is !== identity) return [`${path} is another file now: left alone`];
    orAs(folder, () => ownerOf(folder, name), () => unlinkat(folder.number, name));
    return [`removed ${path}`];
  } catch (error) {
    return (error as { code?: string }).code === "ENOENT" ? [] : [`${(error as Error).message}`];
  }
}
