/**
 * Becomes QEMU: joins the cgroup, makes the monitor's listening socket, takes the guest's context
 * for the next execve(2), drops to QEMU's user, executes QEMU. Its pid stays the same throughout.
 *
 * A program of its own because none of the runtimes can fork; what libuv's `uid` option does drops
 * the supplementary groups (kvm), and a wrapper such as setpriv would use the exec context up for
 * itself.
 *
 * @module
 */

import { connectUnix, listenUnix, sendmsg, socketpair } from "../../ffi/libc_socket.ts";
import {
  becomeUser,
  closeOnExecFrom,
  type Credential,
  defaultSigpipe,
  dup2,
  execve,
  keepOnExec,
  umask,
} from "../../ffi/libc_process.ts";
import { libselinux } from "../../ffi/libselinux.ts";
import { SystemError } from "../../ffi/errno.ts";
import { createSocket, createSocketAt, makingSocketsAs } from "../label/socket.ts";
import { OwnedFd } from "../owned_fd.ts";
import { join } from "./cgroup.ts";
import { FIRST_INHERITED } from "./place.ts";

/** What {@link ./launch.ts} asks for, as JSON in the only argument. */
export interface Launch {
  /** cgroup.procs of the guest's cgroup. */
  readonly cgroupProcs: string;
  /** Context of the guest's process and of its sockets. */
  readonly context: string;
  /** Path of the monitor socket, which must not exist. */
  readonly monitor: string;
  /** Path of a listening socket that takes what QEMU writes to stdout and stderr. */
  readonly console: string;
  readonly credential: Credential;
  /** Absolute. */
  readonly binary: string;
  /** `%MONITOR%` stands for the number of the monitor's listening descriptor. */
  readonly argv: readonly string[];
  readonly env: readonly string[];
  /** How many descriptors QEMU inherits, from {@link ./place.ts FIRST_INHERITED} on. */
  readonly inherited: number;
}

function launch(
  { cgroupProcs, context, monitor, console, credential, binary, argv, env, inherited }: Launch,
): never {
  join(cgroupProcs);
  umask(0o077);
  using socket = createSocket(context, monitor);
  listenUnix(socket.number, monitor, 1);
  const words = connectConsole(console, context);
  closeOnExecFrom(3);
  const images = Array.from({ length: inherited }, (_, i) => FIRST_INHERITED + i);
  for (const fd of [0, 1, 2, ...images, socket.number]) keepOnExec(fd);
  defaultSigpipe();
  if (libselinux().setexeccon_raw(context) !== 0) {
    throw SystemError.last("setexeccon_raw", { path: context });
  }
  becomeUser(credential);
  for (const fd of [1, 2]) dup2(words, fd);
  execve(binary, argv.map((text) => text.replace("%MONITOR%", `${socket.number}`)), env);
}

/**
 * Makes what takes QEMU's words, with the guest's context, and hands its other end to the agent.
 *
 * @returns A descriptor that the caller owns, non-blocking: a word that is lost harms less than a
 * guest that waits for its agent.
 */
function connectConsole(path: string, context: string): number {
  const [guests, agents] = makingSocketsAs(context, socketpair);
  using other = new OwnedFd(agents, path);
  using connection = createSocketAt("s0", path);
  connectUnix(connection.number, path);
  sendmsg(connection.number, new Uint8Array(1), other.number);
  return guests;
}

try {
  launch(JSON.parse(process.argv[2]!));
} catch (error) {
  process.stderr.write(`svirt-agent launcher: ${(error as Error).message}\n`);
  process.exitCode = 127;
}
