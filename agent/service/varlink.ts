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
import { VERSION } from "../version.ts";

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
/** How long new connections wait where the process is out of descriptors. */
const ACCEPT_AGAIN_MS = 1000;
const encoder = new TextEncoder();

/** May whoever is at the other end ask anything? What it throws is a no. */
export type Admit = (connection: OwnedFd) => boolean;

/**
 * Serves an interface until the answer is disposed.
 *
 * @param path Socket to make; one that was left over is replaced, so only the owner of the guest's
 * lock may call this.
 * @param refused Domains that get no answer whoever runs in them: the guests'.
 * @param admit Another check; tests run where SELinux names no peer.
 */
export function serve(
  path: string,
  offered: Interface,
  refused: readonly string[],
  admit: Admit = rootOutside(refused),
): Disposable {
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
  let again: ReturnType<typeof setTimeout> | undefined;
  const take = (fd: number) => {
    const connection = new OwnedFd(fd, path);
    try {
      if (open.size < CONNECTIONS && admit(connection)) return answer(connection, offered, open);
    } catch {
      // Whoever cannot be asked about, as where SELinux is off, gets no answer either.
    }
    connection[Symbol.dispose]();
  };
  const watch = reactor().watch(listener.number, EPOLLIN, () => {
    try {
      for (let fd = accept(listener.number); fd !== undefined; fd = accept(listener.number)) {
        take(fd);
      }
    } catch {
      // EMFILE, mostly. The connection goes on waiting and would make the listener ready for ever.
      watch.change(0);
      again = setTimeout(() => watch.change(EPOLLIN), ACCEPT_AGAIN_MS);
    }
  });
  return {
    [Symbol.dispose]() {
      clearTimeout(again);
      watch[Symbol.dispose]();
      for (const connection of open) connection[Symbol.dispose]();
      listener[Symbol.dispose]();
      rmSync(path, { force: true });
    },
  };
}

/** Root, but in none of these domains. */
function rootOutside(refused: readonly string[]): Admit {
  return ({ number }) =>
    peerCredentials(number).uid === 0 && !refused.includes(parseContext(peerContext(number)).type);
}

function answer(fd: OwnedFd, offered: Interface, open: Set<MessageSocket>): void {
  let last: Promise<void> = Promise.resolve();
  const connection: MessageSocket = new MessageSocket(fd, "\0", LIMITS, {
    message: (bytes) => {
      // One after the other: varlink's answers carry no id.
      last = last.then(async () => {
        await connection.send(encoder.encode(await replyTo(bytes, offered)));
      }).catch(() => connection[Symbol.dispose]());
    },
    closed: () => open.delete(connection),
  });
  open.add(connection);
}

/** What every varlink service offers; varlink.org. */
const SERVICE = "org.varlink.service";
const SERVICE_DESCRIPTION = `interface ${SERVICE}
method GetInfo() -> (vendor: string, product: string, version: string, url: string, interfaces: []string)
method GetInterfaceDescription(interface: string) -> (description: string)
error InterfaceNotFound (interface: string)
error MethodNotFound (method: string)
`;

async function replyTo(bytes: Uint8Array, offered: Interface): Promise<string> {
  const { method, parameters = {} } = parseObject(bytes, DEPTH) as {
    method?: unknown;
    parameters?: Parameters;
  };
  const name = String(method);
  if (name === `${SERVICE}.GetInfo`) {
    const interfaces = [SERVICE, offered.name];
    const about = { vendor: "svirt-agent", product: "svirt-agent", version: VERSION, url: "" };
    return JSON.stringify({ parameters: { ...about, interfaces } });
  }
  if (name === `${SERVICE}.GetInterfaceDescription`) {
    return JSON.stringify(describe(String(parameters?.["interface"]), offered));
  }
  const [iface, short] = [
    name.slice(0, name.lastIndexOf(".")),
    name.slice(name.lastIndexOf(".") + 1),
  ];
  const run = iface === offered.name && Object.hasOwn(offered.methods, short)
    ? offered.methods[short]
    : undefined;
  if (run === undefined) {
    return JSON.stringify({ error: `${SERVICE}.MethodNotFound`, parameters: { method: name } });
  }
  try {
    return JSON.stringify({ parameters: await run(parameters) });
  } catch (error) {
    return JSON.stringify(offered.failure(error as Error));
  }
}

function describe(name: string, offered: Interface): object {
  if (name === offered.name) return { parameters: { description: offered.description } };
  if (name === SERVICE) return { parameters: { description: SERVICE_DESCRIPTION } };
  return { error: `${SERVICE}.InterfaceNotFound`, parameters: { interface: name } };
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
  // Both at once: a failed send rejects the promise, too, and somebody has to hear of that.
  const [bytes] = await Promise.all([
    promise,
    connection.send(encoder.encode(JSON.stringify({ method, parameters }))),
  ]);
  const reply = parseObject(bytes, 64) as { error?: string; parameters?: Parameters };
  if (reply.error !== undefined) throw new VarlinkError(reply.error, reply.parameters ?? {});
  return reply.parameters ?? {};
}
