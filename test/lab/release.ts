/** What differs between the Debian releases that the lab can boot; the rest of the lab reads no version. */
export interface Release {
  /** What `--release` takes, and what the command finds in `LAB_RELEASE`. */
  readonly name: string;
  /** Debian's code name: the suite on the mirror. */
  readonly suite: string;
  /**
   * Modules without which the root disk is not seen, in the order of their dependencies. Those that
   * this kernel has built in are left out when they are not found as files.
   */
  readonly initrdModules: readonly string[];
  /** Is a disk made that a guest boots from? Its kernel has to be packed with zstd. */
  readonly bootsGuests: boolean;
  /** Packages of this release alone, besides those of {@linkcode PACKAGES}. */
  readonly packages: readonly string[];
}

/** In every release. No recommends come with them, and systemd is not among them: it costs 15 s a boot. */
export const PACKAGES: readonly string[] = [
  // a system that can start
  ...["kmod", "iproute2", "procps", "mount", "util-linux", "login", "passwd", "busybox-static"],
  // SELinux: the policy, and the tools that load it, label files and answer questions about it
  ...["selinux-policy-default", "policycoreutils", "selinux-utils", "setools", "secilc"],
  ...["auditd", "attr", "acl", "libcap2-bin", "e2fsprogs", "xfsprogs", "strace"],
  ...["nfs-kernel-server", "nfs-common", "rpcbind"],
  ...["qemu-system-x86", "qemu-utils", "seabios", "ovmf"],
  // what the JavaScript runtimes are linked with
  ...["libstdc++6", "libatomic1"],
];

export const RELEASES: readonly Release[] = [
  { name: "13", suite: "trixie", initrdModules: ["virtio_blk"], bootsGuests: true, packages: [] },
  {
    name: "12",
    suite: "bookworm",
    // deno-fmt-ignore
    initrdModules: [
      "virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci",
      "virtio_blk",
    ],
    bootsGuests: false,
    packages: [],
  },
];

/** @throws `RangeError` that names the releases there are. */
export function findRelease(name: string): Release {
  const release = RELEASES.find((release) => release.name === name);
  if (release !== undefined) return release;
  const known = RELEASES.map((release) => release.name).join(", ");
  throw new RangeError(`Cannot find release "${name}": the lab knows ${known}`);
}
