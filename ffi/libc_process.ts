/**
 * libc.so.6: processes and credentials, as their man pages declare them.
 *
 * @module
 */

import koffi from "koffi";
import { bind } from "./check.ts";
import { SystemError } from "./errno.ts";

interface Libc {
  syscall(number: number, ...typed: unknown[]): number;
  setfsuid(uid: number): number;
  setfsgid(gid: number): number;
  setgroups(size: number, list: Uint32Array): number;
  setresgid(rgid: number, egid: number, sgid: number): number;
  setresuid(ruid: number, euid: number, suid: number): number;
  umask(mask: number): number;
  dup2(oldfd: number, newfd: number): number;
  fcntl(fd: number, cmd: number, ...typed: unknown[]): number;
  signal(signum: number, handler: null): unknown;
  getpwnam(name: string): { pw_uid: number; pw_gid: number } | null;
  getgrouplist(user: string, group: number, groups: Uint32Array, count: Int32Array): number;
  execve(path: string, argv: (string | null)[], envp: (string | null)[]): number;
}

let loaded: Libc | undefined;

function libc(): Libc {
  if (loaded !== undefined) return loaded;
  const so = koffi.load("libc.so.6");
  koffi.struct("passwd", {
    pw_name: "str",
    pw_passwd: "str",
    pw_uid: "uint32_t",
    pw_gid: "uint32_t",
    pw_gecos: "str",
    pw_dir: "str",
    pw_shell: "str",
  });
  const getpwnam = so.func("passwd *getpwnam(const char *name)");
  // deno-fmt-ignore
  loaded = {
    syscall:   bind(so, "long syscall(long number, ...)"),                                          // syscall(2)
    setfsuid:  bind(so, "int setfsuid(unsigned int fsuid)"),                                        // setfsuid(2)
    setfsgid:  bind(so, "int setfsgid(unsigned int fsgid)"),                                        // setfsgid(2)
    setgroups: bind(so, "int setgroups(size_t size, const uint32_t *list)"),                        // getgroups(2)
    setresgid: bind(so, "int setresgid(unsigned int rgid, unsigned int egid, unsigned int sgid)"),  // setresuid(2)
    setresuid: bind(so, "int setresuid(unsigned int ruid, unsigned int euid, unsigned int suid)"),  // setresuid(2)
    dup2:      bind(so, "int dup2(int oldfd, int newfd)"),                                          // dup(2)
    umask:     bind(so, "unsigned int umask(unsigned int mask)"),                                   // umask(2)
    fcntl:     bind(so, "int fcntl(int fd, int cmd, ...)"),                                         // fcntl(2)
    signal:    bind(so, "void *signal(int signum, void *handler)"),                                 // signal(2)
    getpwnam:  (name) => { const found = getpwnam(name); return found && koffi.decode(found, "passwd"); },  // getpwnam(3)
    getgrouplist: bind(so, "int getgrouplist(const char *user, unsigned int group, void *groups, void *ngroups)"), // getgrouplist(3)
    execve:    bind(so, "int execve(const char *pathname, const char **argv, const char **envp)"),  // execve(2)
  };
  return loaded;
}

/** System call numbers that libc has no function for, by Node's name of the architecture. */
const SYSCALLS: Readonly<Record<string, Record<"setgroups" | "getgroups", number>>> = {
  x64: { getgroups: 115, setgroups: 116 },
  arm64: { getgroups: 158, setgroups: 159 },
};
/** The same on every architecture. */
const SYS_pidfd_send_signal = 424;
const SYS_pidfd_open = 434;
const SYS_close_range = 436;
const SYS_pidfd_getfd = 438;
const CLOSE_RANGE_CLOEXEC = 4;
const F_SETFD = 2;
const SIGPIPE = 13;

/** Who the kernel and an NFS server take a caller for. */
export interface Credential {
  readonly uid: number;
  readonly gid: number;
  /** Supplementary groups. */
  readonly groups: readonly number[];
}

/** A user's uid, gid and groups; getpwnam(3), getgrouplist(3). `undefined`: there is no such user. */
export function lookUpUser(name: string): Credential | undefined {
  if (name.includes("\0")) return undefined;
  const found = libc().getpwnam(name);
  if (found === null) return undefined;
  const groups = new Uint32Array(65536);
  const count = new Int32Array([groups.length]);
  libc().getgrouplist(name, found.pw_gid, groups, count);
  return { uid: found.pw_uid, gid: found.pw_gid, groups: [...groups.subarray(0, count[0])] };
}

/**
 * Runs `action` with another filesystem credential: what it opens is opened as that user, which is
 * who an NFS server goes on to see for the life of the descriptor.
 *
 * Only this thread's credential changes (raw setgroups; setfsuid(2) and setfsgid(2) are per thread),
 * and only until `action` returns: it must be synchronous.
 *
 * @throws {@linkcode SystemError} `EPERM` when the caller may not change its groups.
 */
export function withFilesystemCredential<T>(credential: Credential, action: () => T): T {
  const groups = threadGroups();
  setThreadGroups(credential.groups);
  try {
    libc().setfsgid(credential.gid);
    libc().setfsuid(credential.uid);
    requireFsuid(credential.uid);
    return action();
  } finally {
    libc().setfsuid(0);
    libc().setfsgid(0);
    setThreadGroups(groups);
    requireFsuid(0);
  }
}

/** setfsuid(2) reports nothing: only asking again tells. */
function requireFsuid(uid: number): void {
  const now = libc().setfsuid(2 ** 32 - 1);
  if (now !== uid) throw new Error(`Cannot take filesystem uid ${uid}: it is still ${now}`);
}

function threadGroups(): number[] {
  const list = new Uint32Array(65536);
  const numbers = numbersOfThisArchitecture();
  const n = libc().syscall(numbers.getgroups, "int", list.length, "void *", list);
  if (n < 0) throw SystemError.last("getgroups");
  return [...list.subarray(0, n)];
}

function setThreadGroups(groups: readonly number[]): void {
  const list = new Uint32Array(groups);
  const numbers = numbersOfThisArchitecture();
  // deno-fmt-ignore
  if (libc().syscall(numbers.setgroups, "size_t", list.length, "void *", list) !== 0) {
    throw SystemError.last("setgroups");
  }
}

function numbersOfThisArchitecture(): Record<"setgroups" | "getgroups", number> {
  const numbers = SYSCALLS[process.arch];
  if (numbers === undefined) {
    throw new Error(`Cannot set groups on ${process.arch}: add its numbers`);
  }
  return numbers;
}

/** A descriptor that means this process and never a later one with its pid; the caller owns it. */
export function pidfdOpen(pid: number): number {
  const fd = libc().syscall(SYS_pidfd_open, "int", pid, "unsigned int", 0);
  if (fd < 0) throw SystemError.last("pidfd_open", { path: `pid ${pid}` });
  return fd;
}

/** pidfd_send_signal(2); `ESRCH` once the process is gone. Signal 0 only asks. */
export function pidfdSendSignal(pidfd: number, signal: number): void {
  // deno-fmt-ignore
  const result = libc().syscall(SYS_pidfd_send_signal, "int", pidfd, "int", signal, "void *", null, "unsigned int", 0);
  if (result !== 0) throw SystemError.last("pidfd_send_signal", { path: `pidfd ${pidfd}` });
}

/**
 * A duplicate of another process's descriptor: the same open file, with whatever it was opened for.
 * pidfd_getfd(2), Linux 5.6; needs to be allowed to trace the process. The caller owns it.
 */
export function pidfdGetfd(pidfd: number, target: number): number {
  // deno-fmt-ignore
  const fd = libc().syscall(SYS_pidfd_getfd, "int", pidfd, "int", target, "unsigned int", 0);
  if (fd < 0) throw SystemError.last("pidfd_getfd", { path: `descriptor ${target}` });
  return fd;
}

/** Marks every descriptor from `first` on close-on-exec; close_range(2), Linux 5.11. */
export function closeOnExecFrom(first: number): void {
  // deno-fmt-ignore
  const result = libc().syscall(SYS_close_range, "unsigned int", first, "unsigned int", 2 ** 32 - 1, "unsigned int", CLOSE_RANGE_CLOEXEC);
  if (result !== 0) throw SystemError.last("close_range");
}

/** Makes `to` another number of the open file behind `from`, which survives execve(2); dup2(2). */
export function dup2(from: number, to: number): void {
  if (libc().dup2(from, to) < 0) throw SystemError.last("dup2", { path: `fd ${from}` });
}

/** Lets a descriptor survive execve(2); FD_CLOEXEC of fcntl(2). */
export function keepOnExec(fd: number): void {
  if (libc().fcntl(fd, F_SETFD, "int", 0) !== 0) {
    throw SystemError.last("fcntl F_SETFD", { path: `fd ${fd}` });
  }
}

/** Becomes another user for good: groups first, then gid, then uid. */
export function becomeUser({ uid, gid, groups }: Credential): void {
  if (libc().setgroups(groups.length, new Uint32Array(groups)) !== 0) {
    throw SystemError.last("setgroups");
  }
  if (libc().setresgid(gid, gid, gid) !== 0) throw SystemError.last("setresgid");
  if (libc().setresuid(uid, uid, uid) !== 0) throw SystemError.last("setresuid");
}

/** umask(2). */
export function umask(mask: number): void {
  libc().umask(mask);
}

/** Undoes what Deno and Bun do to SIGPIPE; an ignored signal would stay ignored after execve(2). */
export function defaultSigpipe(): void {
  libc().signal(SIGPIPE, null);
}

/** execve(2); returns only to throw. */
export function execve(path: string, argv: readonly string[], env: readonly string[]): never {
  libc().execve(path, [...argv, null], [...env, null]);
  throw SystemError.last("execve", { path });
}
