/**
 * libc.so.6: unix and netlink sockets, as their man pages declare them. All are made non-blocking
 * and close-on-exec; descriptors returned here are the caller's to close.
 *
 * @module
 */

import koffi from "koffi";
import { bind } from "./check.ts";
import { SystemError } from "./errno.ts";

export const AF_UNIX = 1;
export const AF_NETLINK = 16;
export const SOCK_STREAM = 1;
export const SOCK_RAW = 3;
export const NETLINK_AUDIT = 9;
/** <linux/audit.h>: the multicast group that carries every audit record; needs CAP_AUDIT_READ. */
export const AUDIT_NLGRP_READLOG = 1;

const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
const SO_PEERSEC = 31;
const SO_RCVBUF = 8;
const SCM_RIGHTS = 1;
const MSG_CTRUNC = 0x8;
const MSG_DONTWAIT = 0x40;
const POLLIN = 1;
const MSG_NOSIGNAL = 0x4000;
const MSG_CMSG_CLOEXEC = 0x40000000;
/** sun_path of struct sockaddr_un, with its final NUL; unix(7). */
const SUN_PATH_MAX = 108;

interface Libc {
  socket(domain: number, type: number, protocol: number): number;
  socketpair(domain: number, type: number, protocol: number, sv: Int32Array): number;
  bind(fd: number, address: Uint8Array, length: number): number;
  listen(fd: number, backlog: number): number;
  accept4(fd: number, address: null, length: null, flags: number): number;
  connect(fd: number, address: Uint8Array, length: number): number;
  sendmsg(fd: number, message: unknown, flags: number): number;
  recvmsg(fd: number, message: unknown, flags: number): number;
  recv(fd: number, buffer: Uint8Array, size: number, flags: number): number;
  poll(fds: Uint8Array, count: number, timeoutMs: number): number;
  getsockopt(fd: number, level: number, name: number, out: Uint8Array, length: Uint32Array): number;
  setsockopt(fd: number, level: number, name: number, value: Uint8Array, length: number): number;
}

let loaded: Libc | undefined;

function libc(): Libc {
  if (loaded !== undefined) return loaded;
  const so = koffi.load("libc.so.6");
  koffi.struct("iovec", { iov_base: "void *", iov_len: "size_t" });
  koffi.struct("msghdr", {
    msg_name: "void *",
    msg_namelen: "uint32_t",
    msg_iov: "iovec *",
    msg_iovlen: "size_t",
    msg_control: "void *",
    msg_controllen: "size_t",
    msg_flags: "int",
  });
  // deno-fmt-ignore
  loaded = {
    socket:     bind(so, "int socket(int domain, int type, int protocol)"),                                    // socket(2)
    socketpair: bind(so, "int socketpair(int domain, int type, int protocol, void *sv)"),                      // socketpair(2)
    bind:       bind(so, "int bind(int sockfd, const void *addr, unsigned int addrlen)"),                      // bind(2)
    listen:     bind(so, "int listen(int sockfd, int backlog)"),                                               // listen(2)
    accept4:    bind(so, "int accept4(int sockfd, void *addr, void *addrlen, int flags)"),                     // accept(2)
    connect:    bind(so, "int connect(int sockfd, const void *addr, unsigned int addrlen)"),                   // connect(2)
    sendmsg:    bind(so, "int64_t sendmsg(int sockfd, const msghdr *msg, int flags)"),                         // send(2)
    recvmsg:    bind(so, "int64_t recvmsg(int sockfd, _Inout_ msghdr *msg, int flags)"),                       // recv(2)
    recv:       bind(so, "int64_t recv(int sockfd, void *buf, size_t len, int flags)"),                        // recv(2)
    poll:       bind(so, "int poll(void *fds, uint64_t nfds, int timeout)"),                                   // poll(2)
    getsockopt: bind(so, "int getsockopt(int sockfd, int level, int optname, void *optval, void *optlen)"),    // getsockopt(2)
    setsockopt: bind(so, "int setsockopt(int sockfd, int level, int optname, const void *optval, unsigned int optlen)"),
  };
  return loaded;
}

/** socket(2), non-blocking and close-on-exec; the caller owns it. */
export function socket(domain: number, type: number, protocol = 0): number {
  const fd = libc().socket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
  if (fd < 0) throw SystemError.last("socket");
  return fd;
}

/** Two unix stream sockets, connected with each other, non-blocking; the caller owns both. */
export function socketpair(): [number, number] {
  const pair = new Int32Array(2);
  if (libc().socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) !== 0) {
    throw SystemError.last("socketpair");
  }
  return [pair[0]!, pair[1]!];
}

/** Connects a unix socket; `EAGAIN` when the listener's backlog is full, `ECONNREFUSED` without one. */
export function connectUnix(fd: number, path: string): void {
  const address = sockaddrUn(path);
  if (libc().connect(fd, address, address.length) !== 0) {
    throw SystemError.last("connect", { path });
  }
}

/** Binds a unix socket to a new name and listens; `EADDRINUSE` when the name exists. */
export function listenUnix(fd: number, path: string, backlog: number): void {
  const address = sockaddrUn(path);
  if (libc().bind(fd, address, address.length) !== 0) throw SystemError.last("bind", { path });
  if (libc().listen(fd, backlog) !== 0) throw SystemError.last("listen", { path });
}

/** The next waiting connection, non-blocking and close-on-exec, or `undefined` when there is none. */
export function accept(fd: number): number | undefined {
  const connection = libc().accept4(fd, null, null, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (connection >= 0) return connection;
  const error = SystemError.last("accept4");
  if (error.code === "EAGAIN" || error.code === "ECONNABORTED") return undefined;
  throw error;
}

/** struct sockaddr_un; unix(7). */
function sockaddrUn(path: string): Uint8Array {
  const name = new TextEncoder().encode(path);
  if (name.includes(0)) throw new TypeError(`Cannot use ${JSON.stringify(path)}: it holds a NUL`);
  if (name.length >= SUN_PATH_MAX) {
    throw new RangeError(`Cannot use "${path}" as a socket: longer than ${SUN_PATH_MAX - 1} bytes`);
  }
  const address = new Uint8Array(2 + name.length + 1);
  new DataView(address.buffer).setUint16(0, AF_UNIX, true);
  address.set(name, 2);
  return address;
}

/** Joins a netlink multicast group; netlink(7). `EPERM` without the capability it asks for. */
export function bindNetlink(fd: number, group: number): void {
  const address = new Uint8Array(12);
  const view = new DataView(address.buffer);
  view.setUint16(0, AF_NETLINK, true);
  view.setUint32(8, 1 << (group - 1), true);
  if (libc().bind(fd, address, address.length) !== 0) throw SystemError.last("bind");
}

/**
 * Sends bytes and, with their first byte, at most one descriptor.
 *
 * One descriptor a message: when SELinux denies one, the kernel drops it and every later one of the
 * same message without an error, and the receiver cannot tell which.
 *
 * @param fd Lent; so is `passed`, which the receiver gets a duplicate of.
 * @returns Bytes taken, 0 when the socket is full (`EAGAIN`): nothing was passed then.
 */
export function sendmsg(fd: number, bytes: Uint8Array, passed?: number): number {
  const control = passed === undefined ? null : scmRights(passed);
  const n = libc().sendmsg(fd, {
    msg_name: null,
    msg_namelen: 0,
    msg_iov: [{ iov_base: bytes, iov_len: bytes.length }],
    msg_iovlen: 1,
    msg_control: control,
    msg_controllen: control?.length ?? 0,
    msg_flags: 0,
  }, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (n >= 0) return Number(n);
  const error = SystemError.last("sendmsg", { path: `fd ${fd}` });
  if (error.code === "EAGAIN") return 0;
  throw error;
}

/** struct cmsghdr with one descriptor; cmsg(3), unix(7). */
function scmRights(passed: number): Uint8Array {
  const control = new Uint8Array(24);
  const view = new DataView(control.buffer);
  view.setBigUint64(0, 20n, true);
  view.setUint32(8, SOL_SOCKET, true);
  view.setUint32(12, SCM_RIGHTS, true);
  view.setInt32(16, passed, true);
  return control;
}

/** What one recvmsg(2) brought. */
export interface Received {
  /** Bytes written to the buffer; 0 at the end of the stream. */
  readonly length: number;
  /** A descriptor that came along; the caller owns it. */
  readonly fd?: number;
  /** MSG_CTRUNC: a descriptor was sent and did not arrive. SELinux denied it, or there was no room. */
  readonly dropped: boolean;
}

/** CMSG_LEN of one descriptor. With the padding of CMSG_SPACE the kernel would find room for two. */
const CMSG_LEN_ONE = 20;

/** recvmsg(2) into `buffer`; `undefined` when nothing waits. */
export function recvmsg(fd: number, buffer: Uint8Array): Received | undefined {
  const control = new Uint8Array(24);
  const message = {
    msg_name: null,
    msg_namelen: 0,
    msg_iov: [{ iov_base: buffer, iov_len: buffer.length }],
    msg_iovlen: 1,
    msg_control: control,
    msg_controllen: CMSG_LEN_ONE,
    msg_flags: 0,
  };
  const n = libc().recvmsg(fd, message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  if (n < 0) {
    const error = SystemError.last("recvmsg", { path: `fd ${fd}` });
    if (error.code === "EAGAIN") return undefined;
    throw error;
  }
  const dropped = (message.msg_flags & MSG_CTRUNC) !== 0;
  const view = new DataView(control.buffer);
  const carries = view.getBigUint64(0, true) >= 20n && view.getUint32(12, true) === SCM_RIGHTS;
  return carries
    ? { length: Number(n), fd: view.getInt32(16, true), dropped }
    : { length: Number(n), dropped };
}

/**
 * recv(2) into `buffer`; `undefined` when nothing waits. Descriptors that come along are closed by the
 * kernel: there is no room for any.
 *
 * @returns Bytes; 0 at the end of the stream.
 */
export function recv(fd: number, buffer: Uint8Array): number | undefined {
  const n = Number(libc().recv(fd, buffer, buffer.length, MSG_DONTWAIT));
  if (n >= 0) return n;
  const error = SystemError.last("recv", { path: `fd ${fd}` });
  if (error.code === "EAGAIN") return undefined;
  throw error;
}

/**
 * Is there something to receive within `timeoutMs`? poll(2), which blocks this thread. Also true when
 * the other end has closed.
 */
export function canReceive(fd: number, timeoutMs: number): boolean {
  // struct pollfd: int fd, short events, short revents
  const entry = new Int32Array([fd, POLLIN]);
  return libc().poll(new Uint8Array(entry.buffer), 1, timeoutMs) > 0;
}

/** struct ucred of SO_PEERCRED; unix(7): who called connect(2), or listen(2) at the other end. */
export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/** SO_PEERCRED. */
export function peerCredentials(fd: number): PeerCredentials {
  const view = new DataView(getOption(fd, SO_PEERCRED, 12).buffer);
  return {
    pid: view.getInt32(0, true),
    uid: view.getUint32(4, true),
    gid: view.getUint32(8, true),
  };
}

/** SO_PEERSEC: the peer's security context; `ENOPROTOOPT` where the kernel has no SELinux. */
export function peerContext(fd: number): string {
  return new TextDecoder().decode(getOption(fd, SO_PEERSEC, 1024)).replace(/\0.*$/s, "");
}

/** SO_RCVBUF, bytes; the kernel cuts it to net.core.rmem_max. */
export function setReceiveBuffer(fd: number, bytes: number): void {
  const value = new Uint8Array(new Int32Array([bytes]).buffer);
  if (libc().setsockopt(fd, SOL_SOCKET, SO_RCVBUF, value, value.length) !== 0) {
    throw SystemError.last("setsockopt SO_RCVBUF", { path: `fd ${fd}` });
  }
}

function getOption(fd: number, name: number, size: number): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(size);
  const length = new Uint32Array([size]);
  if (libc().getsockopt(fd, SOL_SOCKET, name, out, length) !== 0) {
    throw SystemError.last("getsockopt", { path: `fd ${fd}` });
  }
  return out.slice(0, length[0]);
}
