import { takesScsiCommands } from "../../ffi/libc_device.ts";
import type { Guest } from "../guest.ts";
import type { Host } from "../host.ts";
import { type Context, formatContext } from "../label/context.ts";
import { classify, mountOf, type StorageClass } from "../label/mount.ts";
import type { Selinux } from "../label/selinux.ts";
import { type Identity, isBlockDevice } from "../owned_fd.ts";
import type { Folder } from "./folder.ts";
import { ImageError } from "./image_error.ts";
import { type Layer, layersOf } from "./layer.ts";
import { type Owner, readOwner } from "./owner.ts";
import { checkHeaders } from "./pinned.ts";
import { privateNodeOf } from "./private_node.ts";
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
 * whether the headers still say what the guest file pins; one that does not is a recorded finding.
 *
 * @throws `ImageError`, `SystemError` of the first file that cannot be used.
 */
export function inspectImages(
  guest: Guest,
  host: Pick<Host, "folders" | "selinux" | "log">,
): Inspected[] {
  const { folders, selinux } = host;
  const found = layersOf(guest).map((layer) =>
    withNode(inspectLayer(layer, folders, selinux), guest.name)
  );
  requireDistinct(found);
  const [differs] = checkHeaders(
    { guest: guest.name, files: found, pinnedBy: guest.file, runs: false },
    host,
  );
  if (differs !== undefined) throw differs;
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
  const isDevice = isBlockDevice(fd.stat());
  const takesCommands = isDevice && layer.access === "rw" && takesScsiCommands(fd.number);
  const storage = classify(mountOf(fd), { isBlockDevice: isDevice, takesCommands });
  if (storage.refused !== undefined) {
    throw new ImageError(
      "storage",
      layer.path,
      `lies on storage that is refused: ${storage.refused}`,
    );
  }
  return { layer, identity: fd.identity, ...readOwner(fd), label: selinux.readLabel(fd), storage };
}

/** A block device gets a node for this guest, on a filesystem of the same kind. */
function withNode(found: Inspected, guest: string): Inspected {
  const { layer, storage } = found;
  if (storage.revocation !== "node") return found;
  if (layer.image.transient && layer.depth === 0) {
    throw new ImageError("storage", layer.path, "is a block device, and its image transient", {
      hint: "What is thrown away goes into a file beside the image. Put an overlay into a folder " +
        "of images, and the device first in its backing.",
    });
  }
  return { ...found, layer: { ...layer, privateNode: privateNodeOf(guest, layer) } };
}

/** The label as the log keeps it. */
export function labelText({ label }: Pick<Inspected, "label">): string | null {
  return label === undefined ? null : formatContext(label);
}
