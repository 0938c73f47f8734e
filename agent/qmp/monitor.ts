import { connectUnix } from "../../ffi/libc_socket.ts";
import { harmless, parseObject } from "../io/json.ts";
import { MessageSocket } from "../io/message_socket.ts";
import type { OwnedFd } from "../owned_fd.ts";

/** QEMU answered a command with an error; QMP's `error` member. */
export class QmpError extends Error {
  override readonly name = "QmpError";
  readonly command: string;
  /** `GenericError` for nearly everything: text is all there is to tell them apart. */
  readonly class: string;
  /** As QEMU said it: not for a terminal. */
  readonly desc: string;

  constructor(command: string, errorClass: string, desc: string) {
    super(`${command}: ${harmless(desc)}`);
    this.command = command;
    this.class = errorClass;
    this.desc = desc;
  }
}

/** The monitor is gone, silent or talks nonsense: nothing is known of what QEMU did. */
export class MonitorError extends Error {
  override readonly name = "MonitorError";
  readonly hint: string | undefined;

  constructor(message: string, hint?: string) {
    super(message);
    this.hint = hint;
  }
}

/** An asynchronous QMP event. */
export interface QmpEvent {
  readonly event: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/** QMP `VersionTriple` of the greeting. */
export interface QemuVersion {
  readonly major: number;
  readonly minor: number;
  readonly micro: number;
}

interface Pending {
  readonly command: string;
  resolve(value: unknown): void;
  reject(error: Error): void;
  /** Its deadline; none while the answer is waited for on the spot. */
  timer?: ReturnType<typeof setTimeout>;
}

/** A reply lists at most a guest's block graph; 64 images stay far below. */
const LIMITS = { message: 16 << 20, queue: 16 << 20 };
const DEPTH = 64;
const PENDING = 4096;
const REPLY_MS = 30_000;
/** Most answers are there within; the others come over the reactor. */
const SOON_MS = 2;
const GREETING_MS = 20_000;

const encoder = new TextEncoder();

/**
 * A QMP connection: one command at a time or many, each with its own deadline, and descriptors
 * passed with the command that uses them. docs/interop/qmp-spec in QEMU's tree.
 *
 * The other end may be hostile: what it says decides nothing but what to ask next.
 */
export class Monitor implements Disposable {
  readonly path: string;
  /** From the greeting. */
  version: QemuVersion = { major: 0, minor: 0, micro: 0 };
  readonly #socket: MessageSocket;
  readonly #pending = new Map<number, Pending>();
  readonly #listeners = new Set<(event: QmpEvent) => void>();
  #greeted: { resolve(): void; reject(error: Error): void } | undefined;
  #id = 0;
  #failure: Error | undefined;

  private constructor(fd: OwnedFd, path: string) {
    this.path = path;
    this.#socket = new MessageSocket(fd, "\n", LIMITS, {
      message: (bytes) => this.#message(bytes),
      closed: (error) => this.#closed(error),
    });
  }

  /**
   * Connects, awaits the greeting, leaves negotiation mode.
   *
   * @param fd Taken: an unconnected unix socket. On SELinux it must have the guest's level, because the
   * socket that QEMU accepts takes over the client's and QEMU could not write above its own.
   * @param path Monitor socket.
   * @throws `SystemError` of connect(2), {@linkcode MonitorError} when no greeting comes.
   */
  static async connect(
    fd: OwnedFd,
    path: string,
    greetingMs: number = GREETING_MS,
  ): Promise<Monitor> {
    try {
      connectUnix(fd.number, path);
    } catch (error) {
      fd[Symbol.dispose]();
      throw error;
    }
    const monitor = new Monitor(fd, path);
    try {
      await monitor.#greeting(greetingMs);
      await monitor.execute("qmp_capabilities");
      return monitor;
    } catch (error) {
      monitor[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * Runs a QMP command.
   *
   * @param passed Taken. Passed with the command's first byte.
   * @throws {@linkcode QmpError} when QEMU answers with an error, {@linkcode MonitorError} when it
   * does not answer in time: whether the command had an effect is then unknown.
   */
  async execute(
    command: string,
    args?: Readonly<Record<string, unknown>>,
    { passed, timeoutMs = REPLY_MS }: { passed?: OwnedFd; timeoutMs?: number } = {},
  ): Promise<unknown> {
    if (this.#failure !== undefined || this.#pending.size >= PENDING) {
      passed?.[Symbol.dispose]();
      throw this.#failure ?? new MonitorError(`${this.path}: ${PENDING} commands without a reply`);
    }
    const id = ++this.#id;
    let text: string;
    try {
      text = JSON.stringify({ execute: command, ...(args && { arguments: args }), id });
    } catch (error) {
      passed?.[Symbol.dispose]();
      throw error;
    }
    // A failed send ends the connection, and that rejects the reply.
    const reply = new Promise<unknown>((resolve, reject) => {
      this.#pending.set(id, { command, resolve, reject });
    });
    const bytes = encoder.encode(text);
    // Several at once are sent without waiting in between.
    const alone = this.#pending.size === 1;
    const sent = alone
      ? this.#socket.ask(bytes, passed, SOON_MS)
      : this.#socket.send(bytes, passed);
    sent.catch(() => {});
    this.#setDeadline(id, timeoutMs);
    return await reply;
  }

  /** Most commands are answered by now, and need none. */
  #setDeadline(id: number, ms: number): void {
    const pending = this.#pending.get(id);
    if (pending === undefined) return;
    pending.timer = setTimeout(() => {
      this.#pending.delete(id);
      const what = `no reply to ${pending.command} within ${ms} ms`;
      pending.reject(new MonitorError(`${this.path}: ${what}`));
    }, ms);
  }

  /** Hears every event until the answer is called. */
  onEvent(listener: (event: QmpEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Why nothing can be asked any more, if so. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  #greeting(ms: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        const hint = "SELinux may deny QEMU to write on this connection: the accepted socket has " +
          "the agent's level. Look for an AVC with class unix_stream_socket.";
        reject(new MonitorError(`${this.path}: no greeting within ${ms} ms`, hint));
      }, ms);
      const done = (settle: () => void) => {
        clearTimeout(timer);
        this.#greeted = undefined;
        settle();
      };
      this.#greeted = {
        resolve: () => done(resolve),
        reject: (error) => done(() => reject(error)),
      };
      if (this.#failure !== undefined) this.#greeted.reject(this.#failure);
    });
  }

  #message(bytes: Uint8Array): void {
    let message: Record<string, unknown>;
    try {
      message = parseObject(bytes, DEPTH);
    } catch (error) {
      this.#closed(new MonitorError(`${this.path}: ${(error as Error).message}`));
      this.#socket[Symbol.dispose]();
      return;
    }
    if ("QMP" in message) this.#greet(message["QMP"]);
    else if (typeof message["event"] === "string") this.#event(message);
    else this.#reply(message);
  }

  #greet(greeting: unknown): void {
    const { version } = (greeting ?? {}) as { version?: { qemu?: Partial<QemuVersion> } };
    const { major, minor, micro } = version?.qemu ?? {};
    this.version = { major: part(major), minor: part(minor), micro: part(micro) };
    this.#greeted?.resolve();
  }

  #event(message: Record<string, unknown>): void {
    const data = typeof message["data"] === "object" && message["data"] !== null
      ? message["data"] as Record<string, unknown>
      : {};
    for (const listener of this.#listeners) listener({ event: String(message["event"]), data });
  }

  #reply(message: Record<string, unknown>): void {
    const pending = this.#pending.get(message["id"] as number);
    if (pending === undefined) return; // Its deadline has passed, or a guest made it up.
    this.#pending.delete(message["id"] as number);
    clearTimeout(pending.timer);
    if ("return" in message) return pending.resolve(message["return"]);
    const error = (message["error"] ?? {}) as { class?: unknown; desc?: unknown };
    pending.reject(
      new QmpError(pending.command, String(error.class), String(error.desc ?? "no description")),
    );
  }

  #closed(error: Error | undefined): void {
    if (this.#failure !== undefined) return;
    this.#failure = error instanceof MonitorError
      ? error
      : new MonitorError(`${this.path}: ${error?.message ?? "QEMU closed the monitor"}`);
    this.#greeted?.reject(this.#failure);
    for (const { reject, timer } of this.#pending.values()) {
      clearTimeout(timer);
      reject(this.#failure);
    }
    this.#pending.clear();
    for (const listener of this.#listeners) listener({ event: "AGENT_MONITOR_CLOSED", data: {} });
  }

  [Symbol.dispose](): void {
    this.#socket[Symbol.dispose]();
  }
}

/** A part of a version: 0, which makes it the oldest and most careful one, for what is no number. */
function part(value: unknown): number {
  return Number.isSafeInteger(value) && (value as number) >= 0 ? value as number : 0;
}
