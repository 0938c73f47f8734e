/**
 * varlink: one JSON object a message, ended by NUL, over a unix socket; varlink.org. Requests of one
 * connection are answered in their order. `varlinkctl` and every other client speak it too.
 *
 * @module
 */

import { chmodSync, rmSync } from "node:fs";
import { EPOLLIN } from "../../ffi/libc_epoll.ts";
import {
  accept,
  AF_UNIX,
  connectUnix,
  listenUnix,
  peerContext,
  peerCredentials,
  SOCK_STREAM,
  socket,
} from "../../ffi/libc_socket.ts";
import { parseObject } from "../io/json.ts";
import { MessageSocket } from "../io/message_socket.ts";
import { reactor } from "../io/reactor.ts";
import { parseContext } from "../label/context.ts";
import { OwnedFd } from "../owned_fd.ts";

/** Parameters of a call or of its answer. */
export type Parameters = Readonly<Record<string, unknown>>;

/** One varlink interface. */
export interface Interface {
  readonly name: string;
  /** Its definition, in varlink's language. */
  readonly description: string;
  readonly methods: Readonly<Record<string, (parameters: Parameters) => Promise<Parameters>>>;
  /** Turns what a method threw into the interface's own error. */
  failure(error: Error): { error: string; parameters: Parameters };
}

/** The other end answered with an error. */
export class VarlinkError extends Error {
  override readonly name = "VarlinkError";
  /** `INTERFACE.Error`. */
  readonly error: string;
  readonly parameters: Parameters;

  constructor(error: string, parameters: Parameters) {
    super(String(parameters["message"] ?? error));
    this.error = error;
    this.parameters = parameters;
  }
}

const LIMITS = { message: 1 << 20, queue: 16 << 20 };
const DEPTH = 32;
const BACKLOG = 16;
/** Connections that wait at once; more are closed. */
const CONNECTIONS = 64;
const encoder = new TextEncoder();

/**
 * Serves an interface until the answer is disposed.
 *
 * @param path Socket to make; one that was left over is replaced, so only the owner of the guest's
 * lock may call this.
 * @param refused Domains that get no answer whoever runs in them: the guests'.
 */
export function serve(path: string, offered: Interface, refused: readonly string[]): Disposable {
  rmSync(path, { force: true });
  const listener = new OwnedFd(socket(AF_UNIX, SOCK_STREAM), path);
  try {
    listenUnix(listener.number, path, BACKLOG);
    chmodSync(path, 0o600);
  } catch (error) {
    listener[Symbol.dispose]();
    throw error;
  }
  const open = new Set<MessageSocket>();
  const watch = reactor().watch(listener.number, EPOLLIN, () => {
    for (let fd = accept(listener.number); fd !== undefined; fd = accept(listener.number)) {
      const connection = new OwnedFd(fd, path);
      if (open.size >= CONNECTIONS || !isRoot(connection, refused)) connection[Symbol.dispose]();
      else answer(connection, offered, open);
    }
  });
  return {
    [Symbol.dispose]() {
      watch[Symbol.dispose]();
      for (const connection of open) connection[Symbol.dispose]();
      listener[Symbol.dispose]();
      rmSync(path, { force: true });
    },
  };
}

function isRoot(connection: OwnedFd, refused: readonly string[]): boolean {
  if (peerCredentials(connection.number).uid !== 0) return false;
  return !refused.includes(parseContext(peerContext(connection.number)).type);
}

function answer(fd: OwnedFd, offered: Interface, open: Set<MessageSocket>): void {
  let last: Promise<void> = Promise.resolve();
  const connection: MessageSocket = new MessageSocket(fd, "\0", LIMITS, {
    message: (bytes) => {
      // One after the other: varlink's answers carry no id.
      last = last.then(async () => {
        const reply = await replyTo(bytes, offered);
        await connection.send(encoder.encode(JSON.stringify(reply)));
      }).catch(() => connection[Symbol.dispose]());
    },
    closed: () => open.delete(connection),
  });
  open.add(connection);
}

async function replyTo(bytes: Uint8Array, offered: Interface): Promise<object> {
  const { method, parameters = {} } = parseObject(bytes, DEPTH) as {
    method?: unknown;
    parameters?: Parameters;
  };
  const name = String(method);
  if (name === "org.varlink.service.GetInfo") {
    const interfaces = ["org.varlink.service", offered.name];
    const about = { vendor: "svirt-agent", product: "svirt-agent", version: "0.1.0", url: "" };
    return { parameters: { ...about, interfaces } };
  }
  if (name === "org.varlink.service.GetInterfaceDescription") {
    return { parameters: { description: offered.description } };
  }
  const [iface, short] = [
    name.slice(0, name.lastIndexOf(".")),
    name.slice(name.lastIndexOf(".") + 1),
  ];
  const run = iface === offered.name && Object.hasOwn(offered.methods, short)
    ? offered.methods[short]
    : undefined;
  if (run === undefined) {
    return { error: "org.varlink.service.MethodNotFound", parameters: { method: name } };
  }
  try {
    return { parameters: await run(parameters) };
  } catch (error) {
    return offered.failure(error as Error);
  }
}

/**
 * Calls one method and closes the connection.
 *
 * @throws {@linkcode VarlinkError} with the other end's error; `SystemError` `ENOENT`,
 * `ECONNREFUSED` when nobody serves there.
 */
export async function call(
  path: string,
  method: string,
  parameters: Parameters,
): Promise<Parameters> {
  const fd = new OwnedFd(socket(AF_UNIX, SOCK_STREAM), path);
  try {
    connectUnix(fd.number, path);
  } catch (error) {
    fd[Symbol.dispose]();
    throw error;
  }
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
  using connection = new MessageSocket(fd, "\0", { ...LIMITS, message: 16 << 20 }, {
    message: resolve,
    closed: (error) => reject(error ?? new Error(`${path}: closed without an answer`)),
  });
  await connection.send(encoder.encode(JSON.stringify({ method, parameters })));
  const reply = parseObject(await promise, 64) as { error?: string; parameters?: Parameters };
  if (reply.error !== undefined) throw new VarlinkError(reply.error, reply.parameters ?? {});
  return reply.parameters ?? {};
}
