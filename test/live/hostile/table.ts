/**
 * What a guest tries that has taken its QEMU over, and what has to come of it on each storage.
 *
 * An answer is `ok`, or errno, who decided, and what was denied (a file's permission, or
 * `class:permission`): `te` and `constraint` are SELinux and leave an AVC; `dac` is owner and mode,
 * `server` the NFS server, `kernel` a rule of the system call itself; they leave none.
 *
 * @module
 */

import type { Fence } from "../../../agent/guest.ts";
import { keepsLabels, type Storage } from "../world.ts";

/**
 * What keeps a guest from files: their labels; one boolean for the whole filesystem; and with that
 * the owner, whom the server asks about each write.
 */
export type Column = "labels" | "boolean" | "fence";

/** The column of a storage. */
export function columnOf(storage: Storage, fence: Fence): Column {
  if (keepsLabels(storage)) return "labels";
  return fence === "owner" ? "fence" : "boolean";
}

/** One thing that is tried. `$NAME` stands for a descriptor, a path or a process of the test's. */
export interface Row extends Readonly<Record<Column, string>> {
  readonly what: string;
  readonly command: string;
}

type Cells = readonly [
  what: string,
  command: string,
  labels: string,
  boolean?: string,
  fence?: string,
];

/** A cell that is left out is as the one before it. */
function table(rows: readonly Cells[]): Row[] {
  const names = new Set(rows.map(([what]) => what));
  if (names.size < rows.length) throw new Error("Two rows of one table have the same name");
  return rows.map(([what, command, labels, boolean = labels, fence = boolean]) => ({
    what,
    command,
    labels,
    boolean,
    fence,
  }));
}

/** Through a read-write descriptor of the image, before it is frozen: the guest's right. */
export const BEFORE: readonly Row[] = table([
  ["read", "read $fd 0 4096", "ok"],
  ["write", "rewrite $fd", "ok"],
  ["write with O_DIRECT", "dwrite $fd 0", "ok"],
]);

/** Ways to keep a descriptor that are refused while the guest may still write. */
export const REFUSED_WAYS: readonly Row[] = table([
  ["io_uring", "ring $fd", "EACCES te anon_inode:create"],
  ["a mapping", "keepmap $fd", "EACCES te map"],
]);

// deno-fmt-ignore
/** Through a read-write descriptor from before, on the image that is frozen. */
export const FROZEN: readonly Row[] = table([
  ["read",                       "read $fd 0 4096",              "ok"],
  ["dup",                        "dup $fd",                    "ok"],
  ["write",                      "rewrite $fd",                "EACCES te write",  "ok", "EACCES server"],
  ["write of no bytes",          "zwrite $fd",                 "EACCES te write",  "ok"],
  ["pwritev2 with RWF_DSYNC",    "pwritev2 $fd",               "EACCES te write",  "ok", "EACCES server"],
  ["write with O_DIRECT",        "dwrite $fd 0",               "EACCES te write",  "ok", "EACCES server"],
  ["aio",                        "aio $fd",                    "EACCES te write",  "ok", "EACCES server"],
  ["ftruncate",                  "ftruncate $fd",              "EACCES te write",  "ok", "EACCES server"],
  ["fallocate",                  "fallocate $fd 0 0 4096",     "EACCES te write",  "ok", "EACCES server"],
  ["punch a hole",               "fallocate $fd 3 8192 4096",  "EACCES te write",  "ok", "EACCES server"],
  ["zero a range",               "fallocate $fd 17 8192 4096", "EACCES te write",  "EOPNOTSUPP kernel"],
  ["copy_file_range",            "copyrange $fd",              "EACCES te write",  "ok", "EACCES server"],
  ["sendfile",                   "sendfile $fd",               "EACCES te write",  "ok", "EACCES server"],
  ["splice",                     "splice $fd",                 "EACCES te write",  "ok", "EACCES server"],
  ["reopen for reading",         "reopen $fd ro",              "EACCES te open"],
  ["reopen for writing",         "reopen $fd rw",              "EACCES te write", "EACCES te open"],
  ["reopen with O_DIRECT",       "reopen $fd rw direct",       "EACCES te write", "EACCES te open"],
  ["reopen QEMU's own",          "open $link rw",              "EACCES te write", "EACCES te open"],
  ["mmap for reading",           "mmap $fd ro shared",         "EACCES te map"],
  ["mmap shared",                "mmap $fd rw shared",         "EACCES te map"],
  ["mmap private",               "mmap $fd rw private",        "EACCES te map"],
  ["FICLONE",                    "ioctl $fd 0x40049409 $data", "EACCES te ioctl"],
  ["FICLONERANGE",               "ioctl $fd 0x4020940d",       "EACCES te ioctl"],
  ["FIDEDUPERANGE",              "ioctl $fd 0xc0189436",       "EACCES te ioctl"],
  ["EXT4_IOC_MOVE_EXT here",     "ioctl $fd 0xc028660f",       "EACCES te ioctl"],
  ["EXT4_IOC_MOVE_EXT elsewhere", "moveext $data $fd",         "EACCES te ioctl"],
  ["EXT4_IOC_SWAP_BOOT",         "ioctl $fd 0x6611",           "EACCES te ioctl"],
  ["XFS_IOC_SWAPEXT",            "ioctl $data 0xc0c0586d",     "EACCES te ioctl"],
  ["XFS_IOC_EXCHANGE_RANGE",     "ioctl $data 0x40285881",     "EACCES te ioctl"],
  ["XFS_IOC_FREESP",             "ioctl $fd 0x4030580b",       "EACCES te ioctl"],
  ["FS_IOC_RESVSP",              "ioctl $fd 0x40305828",       "EACCES te ioctl"],
  ["FS_IOC_ZERO_RANGE",          "ioctl $fd 0x40305839",       "EACCES te ioctl"],
  ["FS_IOC_SETFLAGS",            "ioctl $fd 0x40086602",       "EACCES te setattr"],
  ["FS_IOC_FSSETXATTR",          "ioctl $fd 0x401c5820",       "EACCES te ioctl"],
  ["FS_IOC_SETVERSION",          "ioctl $fd 0x40087602",       "EACCES te setattr"],
  ["FS_IOC_ENABLE_VERITY",       "ioctl $fd 0x40806685",       "EACCES te ioctl"],
  ["FIOASYNC",                   "ioctl $fd 0x5452",           "ok"],
  ["fchmod",                     "fchmod $fd",                 "EACCES te setattr"],
  ["fchown",                     "fchown $fd",                 "EACCES te setattr"],
  ["times, now",                 "touch $fd",                  "EACCES te write",  "ok", "EACCES server"],
  ["times, given",               "utimes $fd",                 "EACCES te setattr"],
  ["relabel",                    "setxattr $fd security.selinux $writable", "EACCES te relabelfrom", "EOPNOTSUPP kernel"],
  ["setxattr user.*",            "setxattr $fd user.hostile x", "EACCES te write", "EACCES te setattr", "EACCES server"],
  ["setxattr trusted.*",         "setxattr $fd trusted.hostile x", "EPERM kernel"],
  ["flock",                      "flock $fd",                  "EACCES te lock"],
  ["OFD lock",                   "ofd $fd",                    "EACCES te lock"],
  ["POSIX lock",                 "posix $fd",                  "EACCES te lock"],
  // behind the fence it is not the owner any longer
  ["lease",                      "lease $fd",                  "EACCES te lock",   "EACCES te lock", "EACCES dac"],
]);

/**
 * Last: the flag stays on the open file, which all ways share, because taking it off is a write as
 * well. It makes every later attempt one to append.
 */
export const APPENDING: readonly Row[] = table([
  // NFS has no O_APPEND together with O_DIRECT.
  ["append", "append $fd", "EACCES te append, te write", "EINVAL kernel"],
]);

// deno-fmt-ignore
/** Through a read-write descriptor from before, of a block device that is frozen. */
export const FROZEN_DEVICE: readonly Row[] = table([
  ["read",                       "read $fd 0 4096",            "ok"],
  ["dup",                        "dup $fd",                    "ok"],
  ["write",                      "rewrite $fd",                "EACCES te blk_file:write"],
  ["write of no bytes",          "zwrite $fd",                 "EACCES te blk_file:write"],
  ["pwritev2 with RWF_DSYNC",    "pwritev2 $fd",               "EACCES te blk_file:write"],
  ["write with O_DIRECT",        "dwrite $fd 0",               "EACCES te blk_file:write"],
  ["aio",                        "aio $fd",                    "EACCES te blk_file:write"],
  ["ftruncate",                  "ftruncate $fd",              "EINVAL kernel"],
  ["fallocate",                  "fallocate $fd 0 0 4096",     "EACCES te blk_file:write"],
  ["punch a hole",               "fallocate $fd 3 8192 4096",  "EACCES te blk_file:write"],
  ["zero a range",               "fallocate $fd 17 8192 4096", "EACCES te blk_file:write"],
  ["copy_file_range",            "copyrange $fd",              "EINVAL kernel"],
  ["sendfile",                   "sendfile $fd",               "EACCES te blk_file:write"],
  ["splice",                     "splice $fd",                 "EACCES te blk_file:write"],
  ["reopen for reading",         "reopen $fd ro",              "EACCES te blk_file:open"],
  ["reopen for writing",         "reopen $fd rw",              "EACCES te blk_file:write"],
  ["open its node",              "open $node ro",              "EACCES te blk_file:open"],
  ["open its node for writing",  "open $node rw",              "EACCES te blk_file:write"],
  ["open the host's node",       "open $host ro",              "EACCES te blk_file:read"],
  ["open the host's to write",   "open $host rw",              "EACCES te blk_file:read write"],
  ["mmap for reading",           "mmap $fd ro shared",         "EACCES te blk_file:map"],
  ["mmap shared",                "mmap $fd rw shared",         "EACCES te blk_file:map"],
  ["mmap private",               "mmap $fd rw private",        "EACCES te blk_file:map"],
  ["BLKROSET",                   "ioctl $fd 0x125d",           "EACCES te blk_file:ioctl"],
  ["BLKRRPART",                  "ioctl $fd 0x125f",           "EACCES te blk_file:ioctl"],
  ["BLKFLSBUF",                  "ioctl $fd 0x1261",           "EACCES te blk_file:ioctl"],
  ["BLKPG",                      "ioctl $fd 0x1269",           "EACCES te blk_file:ioctl"],
  ["BLKDISCARD",                 "ioctl $fd 0x1277",           "EACCES te blk_file:ioctl"],
  ["BLKSECDISCARD",              "ioctl $fd 0x127d",           "EACCES te blk_file:ioctl"],
  ["BLKZEROOUT",                 "ioctl $fd 0x127f",           "EACCES te blk_file:ioctl"],
  // SELinux takes its number for FIBMAP's: see SCSI in agent/label/mount.ts.
  ["SCSI_IOCTL_SEND_COMMAND",    "ioctl $fd 0x1",              "EINVAL kernel"],
  ["SG_IO",                      "ioctl $fd 0x2285",           "EACCES te blk_file:ioctl"],
  ["NVME_IOCTL_IO_CMD",          "ioctl $fd 0xc0484e43",       "EACCES te blk_file:ioctl"],
  ["IOC_PR_PREEMPT",             "ioctl $fd 0x401870cb",       "EACCES te blk_file:ioctl"],
  ["LOOP_SET_FD",                "ioctl $fd 0x4c00 $data",     "EACCES te blk_file:ioctl"],
  ["LOOP_CLR_FD",                "ioctl $fd 0x4c01",           "EACCES te blk_file:ioctl"],
  ["LOOP_CHANGE_FD",             "ioctl $fd 0x4c06 $data",     "EACCES te blk_file:ioctl"],
  ["fchmod",                     "fchmod $fd",                 "EACCES te blk_file:setattr"],
  ["fchown",                     "fchown $fd",                 "EACCES te blk_file:setattr"],
  ["times, now",                 "touch $fd",                  "EACCES te blk_file:write"],
  ["times, given",               "utimes $fd",                 "EACCES te blk_file:setattr"],
  ["relabel",                    "setxattr $fd security.selinux $writable", "EACCES te blk_file:relabelfrom"],
  ["flock",                      "flock $fd",                  "EACCES te blk_file:lock"],
  ["OFD lock",                   "ofd $fd",                    "EACCES te blk_file:lock"],
  ["POSIX lock",                 "posix $fd",                  "EACCES te blk_file:lock"],
  ["unlink its node",            "unlink $node",               "EACCES te dir:write"],
  ["make a file beside it",      "create $node.beside",        "EACCES te dir:write"],
  ["append",                     "append $fd",                 "EACCES te blk_file:append, te blk_file:write"],
]);

/** What was in flight in a socket while the image was frozen is received only then. */
export const LANDED: readonly Row[] = table([
  ["receive what was in flight", "land", "MSG_CTRUNC te write", "ok"],
]);

// deno-fmt-ignore
/** By path, with folders and files that every user may change, so that the mode decides nothing. */
export const BY_PATH: readonly Row[] = table([
  ["open its image",             "open $top ro",               "EACCES te open"],
  ["open its image for writing", "open $top rw",               "EACCES te open"],
  ["open the frozen image",      "open $root ro",              "EACCES te open"],
  ["open the frozen to write",   "open $root rw",              "EACCES te write", "EACCES te open"],
  ["truncate it",                "truncate $root",             "EACCES te write",  "EACCES te open"],
  ["open the shared base",       "open $base ro",              "EACCES te open"],
  ["open the base for writing",  "open $base rw",              "EACCES te write", "EACCES te open"],
  ["chmod it",                   "chmod $root",                "EACCES te setattr"],
  ["stat it",                    "stat $root",                 "ok"],
  ["link it",                    "link $root $beside",         "EACCES te write, te dir:write", "EACCES te dir:write"],
  ["unlink it",                  "unlink $root",               "EACCES te dir:write"],
  ["rename it",                  "rename $root $beside",       "EACCES te dir:write"],
  ["rename another over it",     "rename $data_path $root",    "EACCES te dir:write"],
  ["link by descriptor",         "linkempty $fd $beside",      "ENOENT kernel"],
  ["link through /proc",         "linkfd $fd $beside",         "EACCES te write, te dir:write", "EACCES te dir:write"],
  ["create a file beside it",    "create $beside",             "EACCES te dir:write"],
  ["the other guest's image",    "open $other_root ro",        "EACCES constraint read", "EACCES te open"],
  ["the same for writing",       "open $other_data rw",        "EACCES constraint read write", "EACCES te open"],
  ["chmod of the other's image", "chmod $other_root",          "EACCES te setattr"],
  ["stat of the other's image",  "stat $other_root",           "ok"],
  ["the audit log",              "open $log ro",               "EACCES te read"],
  ["the audit log for writing",  "open $log rw",               "EACCES te read write"],
  ["agent.toml for writing",     "open $settings rw",          "EACCES te write"],
  ["its guest file for writing", "open $guest_file rw",        "EACCES te write"],
  ["the other's monitor",        "connect $other_monitor",     "EACCES te sock_file:write"],
  ["the other's control socket", "connect $other_control",     "EACCES te sock_file:write"],
  ["its own control socket",     "connect $control",           "EACCES te sock_file:write"],
  ["its own cgroup",             "open $cgroup/cgroup.procs rw", "EACCES te read write"],
  ["the other's cgroup",         "open $other_cgroup/cgroup.procs rw", "EACCES te read write"],
  ["killing the other's cgroup", "open $other_cgroup/cgroup.kill rw", "EACCES te read write"],
  ["freezing the other's cgroup", "open $other_cgroup/cgroup.freeze rw", "EACCES te read write"],
]);

// deno-fmt-ignore
/** The other guest's QEMU, which runs as the same user. */
export const OTHER_PROCESS: readonly Row[] = table([
  ["ptrace attach",              "attach $other",              "EACCES te process:ptrace"],
  ["ptrace seize",               "seize $other",               "EACCES te process:ptrace"],
  ["process_vm_readv",           "vmread $other",              "EPERM te process:ptrace"],
  ["process_vm_writev",          "vmwrite $other",             "EPERM te process:ptrace"],
  ["pidfd_getfd",                "getfd $other $other_fd",     "EPERM te process:ptrace"],
  ["signal 0",                   "kill $other 0",              "ok"],
  ["SIGSTOP",                    "kill $other 19",             "EACCES te process:sigstop"],
  ["SIGTERM",                    "kill $other 15",             "EACCES constraint process:signal"],
  ["SIGKILL",                    "kill $other 9",              "EACCES te process:sigkill"],
  ["prlimit",                    "limit $other",               "EACCES te process:setrlimit"],
  ["sched_setaffinity",          "affinity $other",            "EACCES te process:setsched"],
  ["setpriority",                "priority $other",            "EACCES te process:setsched"],
  ["kcmp",                       "compare $other",             "EPERM constraint read"],
  ["/proc/PID/mem",              "open /proc/$other/mem rw",   "EACCES constraint dir:search"],
  ["/proc/PID/maps",             "open /proc/$other/maps ro",  "EACCES constraint dir:search"],
  ["/proc/PID/environ",          "open /proc/$other/environ ro", "EACCES constraint dir:search"],
  ["/proc/PID/fd/N",             "open /proc/$other/fd/$other_fd rw", "EACCES constraint dir:search"],
  ["the agent: ptrace",          "attach $agent",              "EPERM dac"],
  ["the agent: pidfd_getfd",     "getfd $agent $other_fd",     "EPERM dac"],
  ["the agent: SIGKILL",         "kill $agent 9",              "EPERM dac"],
]);

/** Where the other guest could come to fetch something. */
export const LISTENING: readonly Row[] = table([
  ["listen in /tmp", "listen /tmp/hostile", "EACCES te sock_file:create"],
  ["listen, abstract", "listen @hostile", "ok"],
  ["datagrams, abstract", "datagram @hostile-d", "ok"],
]);

// deno-fmt-ignore
/** A descriptor from one guest to another; tried by a holder in the other guest's context. */
export const ACROSS: readonly Row[] = table([
  ["connect, abstract",          "connect @hostile",           "EACCES te unix_stream_socket:connectto"],
  ["give a descriptor, abstract", "give @hostile $its_base", "EACCES te unix_stream_socket:connectto"],
  ["datagram, abstract",         "datagramto @hostile-d",      "EACCES constraint unix_dgram_socket:sendto"],
]);

/** Nobody came. */
export const ACCEPTING: readonly Row[] = table([["accept", "accept", "EAGAIN kernel"]]);

// deno-fmt-ignore
/** Descriptors that the test itself hands to a holder: what the kernel lets it receive. */
export const RECEIVED: readonly Row[] = table([
  ["the other guest's image, read-write",  "recv other_rw",   "MSG_CTRUNC constraint read write", "ok"],
  ["the other guest's image, read-only",   "recv other_ro",   "MSG_CTRUNC constraint read",       "ok"],
  ["the shared base of the other guest",   "recv other_base", "ok"],
  ["the audit log",                        "recv log",        "MSG_CTRUNC te read write"],
]);
