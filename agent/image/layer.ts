import type { Format, Guest, Image } from "../guest.ts";
import type { Access } from "../owned_fd.ts";

/** One file of an image: the image itself, or one of the backing files below it. */
export interface Layer {
  readonly image: Image;
  /** 0 for the image, 1 for its backing file, and so on down the chain. */
  readonly depth: number;
  readonly path: string;
  readonly format: Format;
  readonly access: Access;
  readonly shared: boolean;
  /** QEMU's fdset for it; one file, one set. */
  readonly fdset: number;
  /**
   * Block node of the format driver; the file's own node has `.file` behind it. The dot keeps them
   * apart from the names of other images.
   */
  readonly node: string;
  /** On a block device: the device node that the guest's descriptors are opened through. */
  readonly privateNode?: string;
}

/** All files of a guest, each image before what lies below it. */
export function layersOf({ images }: Guest): Layer[] {
  let fdset = 0;
  return images.flatMap((image) => {
    // Of a transient image the guest writes an overlay, which is made when it is attached.
    const top = image.transient ? { ...image, access: "ro" as Access } : image;
    const below = image.backing.map((backing) => ({ ...backing, access: "ro" as Access }));
    return [top, ...below].map(({ path, format, access, shared }, depth): Layer => ({
      image,
      depth,
      path,
      format,
      access,
      shared,
      fdset: ++fdset,
      node: depth === 0 ? image.name : `${image.name}.${depth}`,
    }));
  });
}

/** The layers by image, top first; `layers` as they were found, where that has been looked at. */
export function chainsOf(guest: Guest, layers: readonly Layer[] = layersOf(guest)): Layer[][] {
  return guest.images.map((image) => layers.filter((layer) => layer.image === image));
}

/** How a layer is called in messages and in the log. */
export function layerName({ image, depth }: Layer): string {
  return depth === 0 ? image.name : `${image.name} backing file ${depth}`;
}
