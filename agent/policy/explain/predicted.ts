/**
 * Denials that are the product working: each row is a promise that a kernel keeps by saying no. Read
 * from top to bottom; the first row that fits explains the denial.
 *
 * @module
 */

import { PROMISES } from "../../verify/promise.ts";
import { type Group, hasOtherCategories, typeOf } from "./group.ts";

/** Who said beforehand that this is denied, and what for. */
export interface Prediction {
  /** Stays the same when the text changes. */
  readonly id: string;
  /** The table below, or an assertion file. */
  readonly by: "table" | "assertion";
  /**
   * - `promise`: it is the product working
   * - `harmless`: nobody promised it; whoever was denied does without
   */
  readonly kind: "promise" | "harmless";
  /** The promise that it would break to allow this; absent where nothing would break. */
  readonly promise?: string;
  /** Why it is so, as a sentence without its full stop. */
  readonly because: string;
}

/** The types of images that only a passed descriptor leads to. */
export const FD_TYPES: readonly string[] = ["svirt_fd_image_t", "svirt_fd_ro_t"];
/** Filesystems without labels: one type for every guest's files. */
const STORAGE_TYPES = ["nfs_t", "cifs_t", "fusefs_t"];
const AGENT_TYPES = [
  "svirt_agent_exec_t",
  "svirt_agent_log_t",
  "svirt_agent_runtime_t",
  "svirt_agent_cache_t",
];
/** What judges and records guests: the policy, its booleans and files, and the audit daemon's log. */
const JUDGES = [
  "security_t",
  "selinux_config_t",
  "semanage_store_t",
  "policy_config_t",
  "auditd_log_t",
  "auditd_etc_t",
];
const FILES = ["file", "blk_file", "chr_file", "lnk_file", "fifo_file", "sock_file"];
/** What a guest may do with a descriptor that it was handed. */
const INHERITED_USE = ["getattr", "read", "write", "append"];

/** Everything but these. */
interface AllBut {
  readonly allBut: readonly string[];
}

interface Row extends Omit<Prediction, "by"> {
  /** `guest`: a guest's domain; `other`: any that is neither a guest's nor the agent's. */
  readonly source: "guest" | "other";
  /** Types; `guest` is any guest's domain, `*` any type. */
  readonly target: readonly string[];
  /** Any, unless it is there. */
  readonly classes?: readonly string[];
  readonly permissions: readonly string[] | AllBut;
  /** Only where the target has categories that the source lacks. */
  readonly otherCategories?: true;
}

const ANY: AllBut = { allBut: [] };
const POLICIES_README =
  'see "What an administrator can do with these images" in policies/README.md';

const ROWS: readonly Row[] = [
  {
    id: "other-guest-process",
    kind: "promise",
    source: "guest",
    target: ["guest"],
    permissions: ANY,
    otherCategories: true,
    promise: PROMISES.others,
    because: "it is another guest's process, and categories keep guests from each other",
  },
  {
    id: "other-guest-file",
    kind: "promise",
    source: "guest",
    target: ["*"],
    classes: [...FILES, "dir"],
    permissions: ANY,
    otherCategories: true,
    promise: PROMISES.others,
    because: "it has another guest's categories, whatever its type",
  },
  {
    id: "frozen-descriptor",
    kind: "promise",
    source: "guest",
    target: ["svirt_fd_ro_t"],
    classes: ["file"],
    permissions: ["write", "append"],
    promise: PROMISES.frozen,
    because: "a frozen image or a base is written through no descriptor, old ones included",
  },
  {
    id: "image-ioctl",
    kind: "promise",
    source: "guest",
    target: FD_TYPES,
    classes: ["file"],
    permissions: ["ioctl"],
    promise: PROMISES.others,
    because: "a guest may ask an image for its sector sizes; other commands can reach the blocks " +
      "of other files",
  },
  {
    id: "image-inherited",
    kind: "promise",
    source: "guest",
    target: FD_TYPES,
    permissions: { allBut: [...INHERITED_USE, "ioctl"] },
    promise: PROMISES.inherited,
    because: "a guest uses the descriptor that it was handed: it opens, maps, locks and changes " +
      "no image itself",
  },
  {
    id: "storage-inherited",
    kind: "promise",
    source: "guest",
    target: STORAGE_TYPES,
    classes: FILES,
    permissions: { allBut: INHERITED_USE },
    promise: PROMISES.inherited,
    because: "files there have no label of their own: a guest that may open one may open every " +
      "guest's",
  },
  {
    id: "storage-folder",
    kind: "promise",
    source: "guest",
    target: STORAGE_TYPES,
    classes: ["dir"],
    permissions: ANY,
    promise: PROMISES.inherited,
    because: "a guest has descriptors: it looks up, makes and removes no name where images lie",
  },
  {
    id: "agent-files",
    kind: "promise",
    source: "guest",
    target: AGENT_TYPES,
    permissions: ANY,
    promise: PROMISES.recorded,
    because: "a guest neither reads nor writes the agent's log, nor speaks to its sockets",
  },
  {
    id: "agent-process",
    kind: "promise",
    source: "guest",
    target: ["svirt_agent_t"],
    classes: ["process", "file", "dir", "lnk_file"],
    permissions: ANY,
    promise: PROMISES.recorded,
    because: "a guest neither traces nor signals the agent, nor looks into it",
  },
  {
    id: "policy-and-audit",
    kind: "promise",
    source: "guest",
    target: JUDGES,
    permissions: ANY,
    promise: PROMISES.recorded,
    because: "a guest touches neither the policy and its booleans nor the audit log",
  },
  {
    id: "image-administrator",
    kind: "promise",
    source: "other",
    target: FD_TYPES,
    permissions: ANY,
    promise: PROMISES.others,
    because: `nobody but its guest uses such an image by accident: ${POLICIES_README}`,
  },
  {
    id: "qemu-processors",
    kind: "harmless",
    source: "guest",
    target: ["sysfs_t"],
    classes: ["file"],
    permissions: ["read"],
    because: "libc counts processors in /sys when QEMU starts, and does without",
  },
  {
    id: "qemu-overcommit",
    kind: "harmless",
    source: "guest",
    target: ["sysctl_vm_t"],
    classes: ["dir"],
    permissions: ["search"],
    because: "QEMU looks at /proc/sys/vm when it starts, and does without",
  },
  {
    id: "qemu-io-uring",
    kind: "harmless",
    source: "guest",
    target: ["guest"],
    classes: ["anon_inode"],
    permissions: ["create"],
    because: "QEMU tries io_uring when it starts, and uses threads instead",
  },
];

/** What the table says beforehand of a denial; `undefined` where it says nothing. */
export function predict(group: Group, isGuest: (type: string) => boolean): Prediction | undefined {
  const row = ROWS.find((row) => fits(row, group, isGuest));
  if (row === undefined) return undefined;
  const { id, kind, because, promise } = row;
  return { id, by: "table", kind, because, ...(promise !== undefined && { promise }) };
}

function fits(row: Row, group: Group, isGuest: (type: string) => boolean): boolean {
  const [source, target] = [typeOf(group.source), typeOf(group.target)];
  const by = isGuest(source) ? "guest" : source === "svirt_agent_t" ? "agent" : "other";
  return row.source === by &&
    row.target.some((it) => it === "*" || it === target || (it === "guest" && isGuest(target))) &&
    (row.classes?.includes(group.tclass) ?? true) &&
    group.denied.every((permission) => covers(row.permissions, permission)) &&
    (row.otherCategories === undefined || hasOtherCategories(group));
}

function covers(permissions: Row["permissions"], permission: string): boolean {
  return "allBut" in permissions
    ? !permissions.allBut.includes(permission)
    : permissions.includes(permission);
}
