import { rmSync } from "node:fs";
import {
  accept,
  AF_UNIX,
  listenUnix,
  recvmsg,
  sendmsg,
  SOCK_STREAM,
  socket,
} from "../../ffi/libc_socket.ts";
import { EPOLLIN, EPOLLOUT } from "../../ffi/libc_epoll.ts";
import { reactor, type Watch } from "../../agent/io/reactor.ts";
import { OwnedFd } from "../../agent/owned_fd.ts";

/** What this QEMU does wrong. */
export type Fault =
  /** Says nothing when somebody connects. */
  | "silent"
  /** Is no QEMU at all. */
  | "garbage"
  /** Greets with a line that never ends. */
  | "endless line"
  /** Closes in the middle of a reply. */
  | "dies in mid-reply"
  /** Answers what nobody asked before it answers. */
  | "unknown ids"
  /** Nests its reply deeper than any reply is. */
  | "deep nesting"
  /** Takes commands and never answers. */
  | "mute"
  /** Answers three commands at once, the last one first. */
  | "out of order"
  /** Loses every descriptor, as the kernel does where SELinux denies it. */
  | "dropped descriptors"
  /** Answers with what is no answer to the command. */
  | "wrong answers";

/** Which QEMU it is. */
export interface FakeQemuOptions {
  /** A paused 7.2 answers remove-fd with success and removes nothing; 10.0 removes. */
  readonly version?: readonly [major: number, minor: number];
  /** What its distribution took over from a newer one. */
  readonly removesWhilePaused?: boolean;
  readonly fault?: Fault;
  /** Before each reply. */
  readonly delayMs?: number;
  /** Instead of the right greeting. */
  readonly greeting?: unknown;
}

interface Command {
  readonly execute: string;
  readonly arguments?: Readonly<Record<string, unknown>>;
  readonly id?: unknown;
}

type Answer =
  | { readonly return: unknown }
  | { readonly error: { readonly class: string; readonly desc: string } };

interface Member {
  readonly fd: OwnedFd;
  readonly opaque: string | undefined;
}

/** A QEMU without a guest: its monitor, its fdsets, and real descriptors in them. */
export class FakeQemu implements Disposable {
  readonly path: string;
  /** Does the guest run? `cont` and `stop` change it. */
  running = false;
  /** remove-fd answers success and does nothing, whether or not the guest runs. */
  removesNothing = false;
  /** Commands it was given, in their order. */
  readonly asked: Command[] = [];
  /** By fdset-id. */
  readonly fdsets: Map<number, Member[]> = new Map();
  /** Descriptors that came and no command has taken yet. */
  readonly came: OwnedFd[] = [];
  readonly #options: FakeQemuOptions;
  readonly #listener: OwnedFd;
  readonly #listening: Watch;
  readonly #connections = new Set<Connection>();
  readonly #held: (() => void)[] = [];

  constructor(path: string, options: FakeQemuOptions = {}) {
    this.path = path;
    this.#options = options;
    this.#listener = new OwnedFd(socket(AF_UNIX, SOCK_STREAM), path);
    listenUnix(this.#listener.number, path, 4);
    this.#listening = reactor().watch(this.#listener.number, EPOLLIN, () => {
      const fd = accept(this.#listener.number);
      if (fd !== undefined) this.#greet(new Connection(new OwnedFd(fd, path), this));
    });
  }

  /** A QMP event. */
  emit(event: string, data: object = {}): void {
    this.say(JSON.stringify({ event, data, timestamp: { seconds: 1, microseconds: 0 } }));
  }

  /** Any line. */
  say(line: string): void {
    for (const connection of this.#connections) connection.write(`${line}\r\n`);
  }

  /** Ends its connections and goes on listening. */
  hangUp(): void {
    for (const connection of this.#connections) connection[Symbol.dispose]();
    this.#connections.clear();
  }

  [Symbol.dispose](): void {
    this.hangUp();
    this.#listening[Symbol.dispose]();
    this.#listener[Symbol.dispose]();
    for (const { fd } of [...this.fdsets.values()].flat()) fd[Symbol.dispose]();
    for (const fd of this.came) fd[Symbol.dispose]();
    rmSync(this.path, { force: true });
  }

  #greet(connection: Connection): void {
    this.#connections.add(connection);
    const { fault, version: [major, minor] = [7, 2], greeting } = this.#options;
    if (fault === "silent") return;
    if (fault === "garbage") return connection.write("SSH-2.0-OpenSSH_9.2\x1b[2J\r\n");
    if (fault === "endless line") return connection.write("x".repeat(17 << 20));
    const qemu = { major, minor, micro: 0 };
    const right = { QMP: { version: { qemu, package: "" }, capabilities: ["oob"] } };
    connection.write(`${JSON.stringify(greeting ?? right)}\r\n`);
  }

  /** One line came in. */
  heard(line: string, connection: Connection): void {
    const command = JSON.parse(line) as Command;
    this.asked.push(command);
    const { id } = command;
    const reply = () => connection.write(`${JSON.stringify({ ...this.#answer(command), id })}\r\n`);
    if (command.execute === "qmp_capabilities") return reply();
    const { fault, delayMs } = this.#options;
    if (fault === "mute") return;
    if (fault === "deep nesting") {
      return connection.write(`{"return":${"[".repeat(1e6)}${"]".repeat(1e6)},"id":${id}}\r\n`);
    }
    if (fault === "dies in mid-reply") {
      connection.write(`{"return": {"status": "runn`);
      return this.hangUp();
    }
    if (fault === "unknown ids") {
      for (const wrong of [-1, 1e9, String(id), null, {}, [id], undefined]) {
        connection.write(`${JSON.stringify({ return: "not yours", id: wrong })}\r\n`);
      }
    }
    if (fault === "out of order") {
      this.#held.unshift(reply);
      if (this.#held.length === 3) { for (const reply of this.#held.splice(0)) reply(); }
      return;
    }
    if (delayMs !== undefined) setTimeout(reply, delayMs);
    else reply();
  }

  #answer({ execute, arguments: args = {} }: Command): Answer {
    if (this.#options.fault === "wrong answers" && execute !== "qmp_capabilities") {
      return { return: { "fdset-id": 4711, fd: "three" } };
    }
    switch (execute) {
      case "qmp_capabilities":
        return { return: {} };
      case "cont":
      case "stop":
        this.running = execute === "cont";
        return { return: {} };
      case "query-status":
        return { return: { running: this.running, status: this.running ? "running" : "paused" } };
      case "add-fd":
        return this.#addFd(args as { "fdset-id": number; opaque?: string });
      case "remove-fd":
        return this.#removeFd(args as { "fdset-id": number; fd?: number });
      case "query-fdsets":
        return {
          return: [...this.fdsets].map(([id, members]) => ({
            "fdset-id": id,
            fds: members.map(({ fd, opaque }) => ({ fd: fd.number, opaque })),
          })),
        };
      default:
        return {
          error: { class: "CommandNotFound", desc: `The command ${execute} has not been found` },
        };
    }
  }

  #addFd({ "fdset-id": id, opaque }: { "fdset-id": number; opaque?: string }): Answer {
    const fd = this.came.shift();
    if (fd === undefined) return generic("No file descriptor supplied via SCM_RIGHTS");
    this.fdsets.set(id, [...this.fdsets.get(id) ?? [], { fd, opaque }]);
    return { return: { "fdset-id": id, fd: fd.number } };
  }

  #removeFd({ "fdset-id": id, fd }: { "fdset-id": number; fd?: number }): Answer {
    const members = this.fdsets.get(id) ?? [];
    const gone = members.filter((member) => fd === undefined || member.fd.number === fd);
    if (gone.length === 0) {
      const what = fd === undefined ? `fdset-id:${id}` : `fdset-id:${id}, fd:${fd}`;
      return generic(`File descriptor named '${what}' not found`);
    }
    const [major, minor] = this.#options.version ?? [7, 2];
    const whilePaused = this.#options.removesWhilePaused ??
      (major > 9 || (major === 9 && minor >= 1));
    const removes = !this.removesNothing && (this.running || whilePaused);
    if (removes) {
      for (const member of gone) member.fd[Symbol.dispose]();
      const left = members.filter((member) => !gone.includes(member));
      if (left.length > 0) this.fdsets.set(id, left);
      else this.fdsets.delete(id);
    }
    return { return: {} };
  }

  /** A descriptor came. */
  took(fd: OwnedFd): void {
    if (this.#options.fault === "dropped descriptors") fd[Symbol.dispose]();
    else this.came.push(fd);
  }
}

function generic(desc: string): Answer {
  return { error: { class: "GenericError", desc } };
}

/** One monitor connection, its bytes and descriptors. */
class Connection implements Disposable {
  readonly #fd: OwnedFd;
  readonly #qemu: FakeQemu;
  readonly #watch: Watch;
  readonly #buffer = new Uint8Array(65536);
  #input = "";
  #output = new Uint8Array(0);
  #closed = false;

  constructor(fd: OwnedFd, qemu: FakeQemu) {
    this.#fd = fd;
    this.#qemu = qemu;
    this.#watch = reactor().watch(fd.number, EPOLLIN, (events) => {
      if (events & EPOLLOUT) this.write("");
      if (!this.#closed && events & ~EPOLLOUT) this.#read();
    });
  }

  write(text: string): void {
    if (this.#closed) return;
    this.#output = Buffer.concat([this.#output, new TextEncoder().encode(text)]);
    try {
      for (let n = 1; n > 0 && this.#output.length > 0;) {
        n = sendmsg(this.#fd.number, this.#output);
        this.#output = this.#output.slice(n);
      }
      this.#watch.change(this.#output.length > 0 ? EPOLLIN | EPOLLOUT : EPOLLIN);
    } catch {
      this[Symbol.dispose](); // The agent hung up.
    }
  }

  #read(): void {
    try {
      const received = recvmsg(this.#fd.number, this.#buffer);
      if (received === undefined) return;
      if (received.fd !== undefined) this.#qemu.took(new OwnedFd(received.fd, "passed"));
      if (received.length === 0) return this[Symbol.dispose]();
      this.#input += new TextDecoder().decode(this.#buffer.subarray(0, received.length));
    } catch {
      return this[Symbol.dispose]();
    }
    const lines = this.#input.split("\n");
    this.#input = lines.pop()!;
    for (const line of lines) this.#qemu.heard(line, this);
  }

  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#watch[Symbol.dispose]();
    this.#fd[Symbol.dispose]();
  }
}
