import type { Guest, Image } from "../../agent/guest.ts";
import type { Inspected } from "../../agent/image/inspect.ts";
import { layersOf } from "../../agent/image/layer.ts";
import { OwnedFd } from "../../agent/owned_fd.ts";
import { AT_FDCWD, openat2 } from "../../ffi/libc.ts";
import type { FakeHost } from "./host.ts";

/** What ext4 promises. */
const EXT4 = {
  fsType: "ext4",
  keepsLabels: true,
  openDeniedBy: "type",
  revocation: "label",
  grade: "enforced (label)",
  findings: [],
} as const;

/** A guest with images that are raw and writable unless said otherwise. */
export function guestOf(name: string, ...images: Partial<Image>[]): Guest {
  return {
    name,
    file: `${name}.toml`,
    qemu: { binary: "qemu", args: [], user: "qemu", accelerator: "kvm" },
    images: images.map((image, i) => ({
      name: `image${i}`,
      path: "",
      format: "raw",
      access: "rw",
      cache: "none",
      device: "virtio-blk-pci",
      shared: false,
      transient: false,
      backing: [],
      ...image,
    })),
  };
}

/** inspectImages, but for the filesystem, which here may be any. */
export function inspected(guest: Guest, { selinux }: FakeHost): Inspected[] {
  return layersOf(guest).map((layer) => {
    using fd = new OwnedFd(openat2(AT_FDCWD, layer.path, { flags: 0, resolve: 0n }), layer.path);
    const { uid, gid, mode } = fd.stat();
    const label = selinux.readLabel(fd);
    return { layer, identity: fd.identity, uid, gid, mode, label, storage: EXT4 };
  });
}
