/**
 * Two ends of a unix stream socket, and an inventory of this process's descriptors.
 *
 * @module
 */

import { mkdtempSync, readdirSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import koffi from "koffi";
import {
  accept,
  AF_UNIX,
  connectUnix,
  listenUnix,
  recvmsg,
  sendmsg,
  SOCK_STREAM,
  socket,
} from "../../ffi/libc_socket.ts";
import { close } from "../../ffi/libc.ts";
import { reactor } from "../../agent/io/reactor.ts";
import { OwnedFd } from "../../agent/owned_fd.ts";

/** Both ends belong to the caller. */
export function socketPair(): [OwnedFd, OwnedFd] {
  const folder = mkdtempSync(join(tmpdir(), "pair-"));
  const path = join(folder, "socket");
  using listener = new OwnedFd(socket(AF_UNIX, SOCK_STREAM), path);
  listenUnix(listener.number, path, 1);
  const one = new OwnedFd(socket(AF_UNIX, SOCK_STREAM), path);
  connectUnix(one.number, path);
  const two = new OwnedFd(accept(listener.number)!, path);
  rmSync(folder, { recursive: true });
  return [one, two];
}

/** What this process's descriptors are of, where that is a socket or lies in `folder`; sorted. */
export function descriptors(folder = "socket:"): string[] {
  return readdirSync("/proc/self/fd").flatMap((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return []; // The one that readdir itself had.
    }
  }).filter((link) => link.startsWith("socket:") || link.startsWith(folder)).sort();
}

/** Fails when there are descriptors that were not there before; the other end may close a bit later. */
export async function requireNoMore(before: readonly string[], folder?: string): Promise<void> {
  const more = () => {
    const left = [...before];
    return descriptors(folder).filter((it) => {
      const known = left.indexOf(it);
      if (known >= 0) left.splice(known, 1);
      return known < 0;
    });
  };
  await until(() => more().length === 0, 2000).catch(() => {
    throw new Error(`Descriptors left open: ${more().join(", ")}`);
  });
}

/** Lets what is ready be handled, until `done` holds. */
export async function until(done: () => boolean, ms = 10_000): Promise<void> {
  const deadline = Date.now() + ms;
  while (!done()) {
    if (Date.now() > deadline) throw new Error(`Nothing came of it in ${ms} ms: ${done}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** For `after` of every file whose tests watch descriptors: without it `deno test` ends by SIGSEGV. */
export async function reactorAtRest(): Promise<void> {
  await reactor().atRest;
  // koffi lets go of the thread one turn later.
  await new Promise((resolve) => setTimeout(resolve, 1));
}

/** Sends all of it; only for less than a socket takes. */
export function sendRaw(fd: OwnedFd, bytes: Uint8Array | string): void {
  const all = typeof bytes === "string" ? new TextEncoder().encode(bytes) : bytes;
  const sent = sendmsg(fd.number, all);
  if (sent !== all.length) throw new Error(`The socket took ${sent} of ${all.length} bytes`);
}

/** Everything that waits, and the descriptors that came with it, which are the caller's. */
export function receiveRaw(fd: OwnedFd): { bytes: Uint8Array; passed: number[]; ended: boolean } {
  const parts: Uint8Array[] = [];
  const passed: number[] = [];
  const buffer = new Uint8Array(65536);
  for (;;) {
    const received = recvmsg(fd.number, buffer);
    if (received?.fd !== undefined) passed.push(received.fd);
    if (received === undefined || received.length === 0) {
      return { bytes: Buffer.concat(parts), passed, ended: received !== undefined };
    }
    parts.push(buffer.slice(0, received.length));
  }
}

/** What the agent never does: several descriptors with one message. */
export function sendSeveral(fd: OwnedFd, text: string, passed: readonly number[]): void {
  const bytes = new TextEncoder().encode(text);
  const control = new Uint8Array(Math.ceil((16 + 4 * passed.length) / 8) * 8);
  const view = new DataView(control.buffer);
  view.setBigUint64(0, BigInt(16 + 4 * passed.length), true);
  view.setUint32(8, 1, true); // SOL_SOCKET
  view.setUint32(12, 1, true); // SCM_RIGHTS
  passed.forEach((number, i) => view.setInt32(16 + 4 * i, number, true));
  // The types of ffi/libc_socket.ts, which a pair has loaded.
  sendmsgOfC ??= koffi.load("libc.so.6").func(
    "int64_t sendmsg(int sockfd, const msghdr *msg, int flags)",
  );
  const n = sendmsgOfC(fd.number, {
    msg_name: null,
    msg_namelen: 0,
    msg_iov: [{ iov_base: bytes, iov_len: bytes.length }],
    msg_iovlen: 1,
    msg_control: control,
    msg_controllen: control.length,
    msg_flags: 0,
  }, 0);
  if (Number(n) !== bytes.length) throw new Error(`sendmsg: ${n}`);
}

let sendmsgOfC: ((...args: unknown[]) => unknown) | undefined;

/** Closes descriptors that came through {@linkcode receiveRaw}. */
export function closeAll(fds: readonly number[]): void {
  for (const fd of fds) close(fd);
}
