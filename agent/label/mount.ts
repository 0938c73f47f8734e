/**
 * What a filesystem can promise. Which mechanism keeps a guest from opening an image, and which one
 * takes its write access away, follows from where the image is stored and from nothing else.
 *
 * @module
 */

import { readFileSync } from "node:fs";
import type { OwnedFd } from "../owned_fd.ts";

/** One line of /proc/self/mountinfo; proc_pid_mountinfo(5). */
export interface Mount {
  /** What statx(2) answers as the mount id of a file. */
  readonly id: bigint;
  /** `major:minor` of files there; several mounts may share it. */
  readonly device: string;
  readonly mountPoint: string;
  /** `nfs4`, `ext4`, `fuse.sshfs`. */
  readonly fsType: string;
  /** `server:/export`, `/dev/sda1`. */
  readonly source: string;
  /** Options of the mount, then those of the filesystem (`seclabel`, `context=...`). */
  readonly options: readonly string[];
}

/** Booleans that let guests open files of a filesystem which keeps no labels. */
export type StorageBoolean = "virt_use_nfs" | "virt_use_samba" | "virt_use_fusefs";

/** Who guarantees that a frozen image is not written; cooperative: QEMU or /proc says so. */
export type Grade = "enforced (label)" | "enforced (server)" | "cooperative";

/** What can be promised about an image on one mount. */
export interface StorageClass {
  readonly fsType: string;
  /** Can each image have a label of its own? */
  readonly keepsLabels: boolean;
  /** Rests the denial of `open` on the image's type, or on a boolean that is off? */
  readonly openDeniedBy: "type" | "boolean";
  readonly boolean?: StorageBoolean;
  /** Write access goes by relabelling the file or its device node, or by a read-only reopen. */
  readonly revocation: "label" | "reopen" | "node";
  /** Highest grade without a fence. */
  readonly grade: Grade;
  /** Why no guest gets an image from here. */
  readonly refused?: string;
  /** What a report should list, as full sentences. */
  readonly findings: readonly string[];
}

/** What {@linkcode classify} needs of a file besides its mount. */
export interface FileOnMount {
  readonly isBlockDevice?: boolean;
  /** Its guest gets a descriptor that writes, and SCSI commands reach the disk through it. */
  readonly takesCommands?: boolean;
  /** The guest file or agent.toml asks for this `context=` mount by name. */
  readonly contextAsked?: boolean;
}

const BY_LABEL = {
  keepsLabels: true,
  openDeniedBy: "type",
  revocation: "label",
  grade: "enforced (label)",
} as const;
const BY_BOOLEAN = {
  keepsLabels: false,
  openDeniedBy: "boolean",
  revocation: "reopen",
  grade: "cooperative",
} as const;
const BY_ONE_LABEL = {
  keepsLabels: false,
  openDeniedBy: "type",
  revocation: "reopen",
  grade: "cooperative",
} as const;

/** By filesystem type, or the part before its first dot: which boolean lets guests open there. */
const BOOLEANS: Readonly<Record<string, StorageBoolean>> = {
  nfs: "virt_use_nfs",
  nfs4: "virt_use_nfs",
  cifs: "virt_use_samba",
  smb3: "virt_use_samba",
  fuse: "virt_use_fusefs",
  fuseblk: "virt_use_fusefs",
  virtiofs: "virt_use_fusefs",
};

/** Every boolean that opens a kind of storage to guests. */
export const STORAGE_BOOLEANS: readonly StorageBoolean[] = [...new Set(Object.values(BOOLEANS))];

/**
 * SCSI_IOCTL_SEND_COMMAND has the number of FIBMAP, for which SELinux asks for getattr alone, and
 * goes by how the descriptor was opened.
 */
const SCSI =
  "a whole SCSI disk: once it is frozen, a guest that keeps a descriptor from before can " +
  "write it by SCSI commands, which SELinux does not see. Use a partition or a logical volume of it";

/** Filesystems that keep labels wherever SELinux runs; without `seclabel` something is wrong. */
const LABELLED: ReadonlySet<string> = new Set(["ext4", "xfs", "btrfs", "tmpfs", "devtmpfs"]);

/** The rows of "Storage decides the mechanism", first match first. */
export function classify(mount: Mount, file: FileOnMount = {}): StorageClass {
  const { fsType } = mount;
  const seclabel = mount.options.includes("seclabel");
  const common = { fsType, findings: lockFindings(mount) };
  if (mount.options.some((option) => option.startsWith("context="))) {
    if (file.contextAsked) return { ...common, ...BY_ONE_LABEL };
    const refused = `${mount.mountPoint} is mounted with one label for all files (context=): ` +
      "no image can be kept from another guest by its label. Mount it without context=";
    return { ...common, ...BY_ONE_LABEL, refused };
  }
  if (seclabel) {
    const revocation = file.isBlockDevice ? "node" : "label";
    if (!file.takesCommands) return { ...common, ...BY_LABEL, revocation };
    return { ...common, ...BY_LABEL, revocation, grade: "cooperative", findings: [SCSI] };
  }
  const boolean = booleanOf(fsType);
  if (boolean !== undefined && !file.isBlockDevice) return { ...common, ...BY_BOOLEAN, boolean };
  const refused = LABELLED.has(fsType)
    ? `${mount.mountPoint} (${fsType}) keeps no labels (no "seclabel"): is SELinux enabled?`
    : `${mount.mountPoint} (${fsType}) keeps no labels and no boolean closes it to guests`;
  return { ...common, ...BY_ONE_LABEL, refused };
}

/** The boolean that lets guests open files of this filesystem type where it keeps no labels. */
export function booleanOf(fsType: string): StorageBoolean | undefined {
  const family = fsType.split(".", 1)[0]!;
  return Object.hasOwn(BOOLEANS, family) ? BOOLEANS[family] : undefined;
}

/** The agent's locks reach other hosts only where the server keeps them. */
function lockFindings({ fsType, mountPoint, options }: Mount): string[] {
  if (booleanOf(fsType) !== "virt_use_nfs") return [];
  const isLocal = (option: string) =>
    option === "nolock" || (option.startsWith("local_lock=") && option !== "local_lock=none");
  return options.filter(isLocal).map((option) =>
    `${mountPoint} is mounted with ${option}: a guest on another host may write the same image`
  );
}

/**
 * Reads /proc/self/mountinfo. A line that is none is left out: a file whose mount is then missing
 * is refused by {@linkcode mountOf}.
 */
export function parseMountinfo(text: string): ReadonlyMap<bigint, Mount> {
  const mounts = new Map<bigint, Mount>();
  for (const line of text.split("\n")) {
    const fields = line.split(" ");
    // Optional fields (shared:1 master:2) stand between the sixth and a lone hyphen.
    const end = fields.indexOf("-", 6);
    const [id, , device, , mountPoint, options] = fields;
    const [fsType, source, superOptions] = fields.slice(end + 1);
    if (end < 0 || !/^\d+$/.test(id ?? "") || !fsType || superOptions === undefined) continue;
    mounts.set(BigInt(id!), {
      id: BigInt(id!),
      device: device!,
      mountPoint: unescape(mountPoint!),
      fsType: unescape(fsType),
      source: unescape(source!),
      options: [...splitOptions(options!), ...splitOptions(superOptions)],
    });
  }
  return mounts;
}

/** The kernel writes blank, tab, newline, backslash and # as `\040`. */
function unescape(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(parseInt(octal, 8)));
}

/** At commas, but not inside `context="u:r:t:s0:c1,c2"`. */
function splitOptions(text: string): string[] {
  return (text.match(/(?:"[^"]*"?|[^,"])+/g) ?? []).map((option) =>
    unescape(option).replaceAll('"', "")
  );
}

/**
 * The mount that holds an open file.
 *
 * @param fd Lent.
 * @throws `Error` when the mount is not listed: it belongs to another mount namespace, or was
 * unmounted lazily.
 */
export function mountOf(
  fd: OwnedFd,
  mountinfo: string = readFileSync("/proc/self/mountinfo", "utf8"),
): Mount {
  const mount = parseMountinfo(mountinfo).get(fd.stat().mountId);
  if (mount !== undefined) return mount;
  throw new Error(`Cannot find the mount of "${fd.path}": it is not in /proc/self/mountinfo`);
}
