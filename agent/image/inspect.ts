import { constants } from "node:fs";
import type { Guest } from "../guest.ts";
import { type Context, formatContext } from "../label/context.ts";
import { classify, mountOf, type StorageClass } from "../label/mount.ts";
import type { Selinux } from "../label/selinux.ts";
import type { Identity } from "../owned_fd.ts";
import { compareChain } from "./chain.ts";
import { type Folder, requireSame } from "./folder.ts";
import { type Header, readHeader } from "./header.ts";
import { ImageError } from "./image_error.ts";
import { type Layer, layersOf } from "./layer.ts";
import { type Owner, readOwner } from "./owner.ts";
import { openToLook } from "./squash.ts";

/** A file as it was found, before anything was done to it. */
export interface Inspected extends Owner {
  readonly layer: Layer;
  readonly identity: Identity;
  readonly label: Context | undefined;
  /** What its filesystem can promise. */
  readonly storage: StorageClass;
}

/**
 * Looks at every file of a guest and changes nothing: identity, owner, label, filesystem, and
 * whether the headers still say what the guest file pins.
 *
 * @throws `ImageError`, `SystemError` of the first file that cannot be used.
 */
export function inspectImages(
  guest: Guest,
  folders: readonly Folder[],
  selinux: Selinux,
): Inspected[] {
  const layers = layersOf(guest);
  const found = layers.map((layer) => inspectLayer(layer, folders, selinux));
  requireDistinct(found);
  for (const image of guest.images) {
    const headers = found.filter(({ layer }) => layer.image === image)
      .map(({ layer, identity }) => headerOf(layer, identity, folders));
    for (const { path, what, pinned, header } of compareChain(image, headers)) {
      throw new ImageError(
        "header-differs",
        path,
        `has a header that says ${what} ${JSON.stringify(header)}; ${guest.file} says ` +
          JSON.stringify(pinned),
        {
          hint: `A guest can write its header, so the guest file decides. If the file is right, ` +
            `find out who changed the header; else see: svirt-agent image chain ${image.path} ` +
            `--format ${image.format} --adopt`,
        },
      );
    }
  }
  return found;
}

/** One file under two names in one guest would be opened, locked and labelled twice. */
function requireDistinct(found: readonly Inspected[]): void {
  const seen = new Map<Identity, string>();
  for (const { identity, layer } of found) {
    const earlier = seen.get(identity);
    if (earlier !== undefined) {
      throw new ImageError("twice", layer.path, `is the same file as ${JSON.stringify(earlier)}`, {
        hint: "Each file can be used once in a guest. Is it mounted in two places?",
      });
    }
    seen.set(identity, layer.path);
  }
}

/** Looks at one file. */
export function inspectLayer(
  layer: Layer,
  folders: readonly Folder[],
  selinux: Selinux,
): Inspected {
  using fd = openToLook(folders, layer.path);
  if ((fd.stat().mode & constants.S_IFMT) === constants.S_IFBLK) {
    throw new ImageError("storage", layer.path, "is a block device, which cannot be attached yet", {
      hint: "Put the image into a file.",
    });
  }
  const storage = classify(mountOf(fd));
  if (storage.refused !== undefined) {
    throw new ImageError(
      "storage",
      layer.path,
      `lies on storage that is refused: ${storage.refused}`,
    );
  }
  return { layer, identity: fd.identity, ...readOwner(fd), label: selinux.readLabel(fd), storage };
}

/**
 * What the header of a file says now.
 *
 * Opened anew and not with O_DIRECT, which the guest's descriptors may have: it reads whole sectors
 * into aligned memory only.
 */
export function headerOf(
  { path, format }: Layer,
  identity: Identity,
  folders: readonly Folder[],
): Header {
  using fd = openToLook(folders, path);
  requireSame(fd, identity, path);
  return readHeader(fd, format);
}

/** The label as the log keeps it. */
export function labelText({ label }: Pick<Inspected, "label">): string | null {
  return label === undefined ? null : formatContext(label);
}
