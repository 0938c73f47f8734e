import type { Access } from "./owned_fd.ts";

/** How QEMU reads a file; always given, never probed. QAPI `BlockdevDriver`. */
export type Format = "qcow2" | "raw";

/** `owner`: on NFS without labels write access to a frozen image is revoked by its owner. */
export type Fence = "off" | "owner";

/** A guest and its images, as its file describes them. */
export interface Guest {
  /** Lower-case letters, digits, `.`, `_`, `-`; at most 63; it names files and cgroups. */
  readonly name: string;
  readonly qemu: QemuSettings;
  readonly images: readonly Image[];
  /** Absent: as agent.toml says. */
  readonly fence?: Fence;
  /** File that it was read from, for messages. */
  readonly file: string;
}

/** How a guest's QEMU is started. */
export interface QemuSettings {
  /** Absolute path, or a name that is looked up in PATH. */
  readonly binary: string;
  /** Everything but files. */
  readonly args: readonly string[];
  /** Unprivileged user it runs as. */
  readonly user: string;
  /** Chooses the domain: code that QEMU translates needs a type that may execute memory it wrote. */
  readonly accelerator: "kvm" | "tcg";
}

/** One image and the files beneath it. */
export interface Image {
  /** Tag of its fdsets and prefix of its block nodes: letters, digits, `-`, `_`; starts with a letter. */
  readonly name: string;
  /** Absolute. */
  readonly path: string;
  readonly format: Format;
  readonly access: Access;
  /** `none` opens with O_DIRECT. */
  readonly cache: "none" | "writeback" | "writethrough";
  /** QEMU's device model, `virtio-blk-pci`. */
  readonly device: string;
  /** Other guests may read it too; every guest that does has to say so. Never for one it writes. */
  readonly shared: boolean;
  /** What the guest writes is thrown away when it stops, and the file itself is never written. */
  readonly transient: boolean;
  /** The backing chain from the first below the image to its end. Pinned: never taken from a header. */
  readonly backing: readonly Backing[];
}

/** A read-only file below an image. */
export interface Backing {
  readonly path: string;
  readonly format: Format;
  /** Other guests may use it too; every guest that does has to say so. */
  readonly shared: boolean;
}
