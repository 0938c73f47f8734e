import { EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT } from "../../ffi/libc_epoll.ts";
import { canReceive, recv, sendmsg } from "../../ffi/libc_socket.ts";
import type { OwnedFd } from "../owned_fd.ts";
import { reactor, type Watch } from "./reactor.ts";

/** What the other end may make this one keep in memory. */
export interface Limits {
  /** Longest message, bytes. */
  readonly message: number;
  /** Most bytes waiting to be taken by the other end. */
  readonly queue: number;
}

/** Who hears of messages and of the end. */
export interface Listener {
  message(bytes: Uint8Array): void;
  /** Called once; `error` is absent when the other end closed in good order. */
  closed(error: Error | undefined): void;
}

interface Outgoing {
  bytes: Uint8Array;
  /** Owned until it was sent. */
  fd: OwnedFd | undefined;
  sent(error?: Error): void;
}

/**
 * A unix stream socket that carries messages, each ended by one byte: QMP ends them with a newline,
 * varlink with NUL.
 *
 * Output is queued: a peer that does not read makes sendmsg(2) answer EAGAIN, and the rest waits for
 * EPOLLOUT. A peer that exceeds a limit is cut off, so that no guest can fill the agent's memory.
 */
export class MessageSocket implements Disposable {
  readonly #fd: OwnedFd;
  readonly #end: number;
  readonly #limits: Limits;
  readonly #listener: Listener;
  readonly #watch: Watch;
  readonly #buffer = new Uint8Array(65536);
  readonly #queue: Outgoing[] = [];
  #queued = 0;
  /** EPOLL* that the reactor waits for. */
  #wanted = EPOLLIN;
  #listensLater = false;
  #partial: Uint8Array[] = [];
  #partialLength = 0;
  #closed = false;

  /** Takes ownership of `fd`, a connected and non-blocking socket. */
  constructor(fd: OwnedFd, end: "\n" | "\0", limits: Limits, listener: Listener) {
    this.#fd = fd;
    this.#end = end.charCodeAt(0);
    this.#limits = limits;
    this.#listener = listener;
    this.#watch = reactor().watch(fd.number, EPOLLIN, (events) => this.#ready(events));
  }

  /** Lent, for SO_PEERCRED and SO_PEERSEC. */
  get fd(): OwnedFd {
    return this.#fd;
  }

  /**
   * Sends one message, and with its first byte at most one descriptor.
   *
   * @param passed Taken: closed here once the kernel has it, or when the socket is closed.
   * @returns When the kernel has taken all of it.
   */
  send(bytes: Uint8Array, passed?: OwnedFd): Promise<void> {
    const whole = new Uint8Array(bytes.length + 1);
    whole.set(bytes);
    whole[bytes.length] = this.#end;
    return new Promise((resolve, reject) => {
      const sent = (error?: Error) => error === undefined ? resolve() : reject(error);
      this.#queue.push({ bytes: whole, fd: passed, sent });
      this.#queued += whole.length;
      if (this.#closed) this.#fail(new Error(`Cannot send to ${this.#fd.path}: it is closed`));
      else if (this.#queued > this.#limits.queue) this.#fail(this.#over("does not read", "queue"));
      else this.#flush();
    });
  }

  /**
   * Sends one message, and waits for its answer at most `ms` on this very thread.
   *
   * What the reactor hears has to come over from its own thread, which takes as long as a QEMU does
   * for most answers. Nothing else runs meanwhile: keep it short. A later answer comes as always.
   *
   * @param passed Taken, as by {@linkcode MessageSocket.send}.
   */
  ask(bytes: Uint8Array, passed: OwnedFd | undefined, ms: number): Promise<void> {
    // Before it is sent: the answer must not wake the reactor's thread.
    this.#want(0);
    const sent = this.send(bytes, passed);
    if (!this.#closed && this.#queue.length === 0) {
      if (canReceive(this.#fd.number, ms)) {
        this.#ready(EPOLLIN);
        this.#listenLater();
      } else this.#want(EPOLLIN);
    }
    return sent;
  }

  /** Whoever asks again at once spares the kernel two changes. */
  #listenLater(): void {
    if (this.#listensLater) return;
    this.#listensLater = true;
    setImmediate(() => {
      this.#listensLater = false;
      if (this.#wanted === 0) this.#want(EPOLLIN);
    });
  }

  /** Tells the reactor what to wait for, EPOLL*, once the socket is not closed. */
  #want(events: number): void {
    if (this.#closed || this.#wanted === events) return;
    this.#watch.change(events);
    this.#wanted = events;
  }

  #ready(events: number): void {
    try {
      if (events & EPOLLOUT) this.#flush();
      if (!this.#closed && events & (EPOLLIN | EPOLLHUP | EPOLLERR)) this.#receive();
    } catch (error) {
      this.#fail(error as Error);
    }
  }

  #flush(): void {
    try {
      for (let first = this.#queue[0]; first !== undefined; first = this.#queue[0]) {
        const n = sendmsg(this.#fd.number, first.bytes, first.fd?.number);
        if (n === 0) break;
        first.fd?.[Symbol.dispose]();
        first.fd = undefined;
        first.bytes = first.bytes.subarray(n);
        this.#queued -= n;
        if (first.bytes.length > 0) break;
        this.#queue.shift();
        first.sent();
      }
      if (this.#queue.length > 0) this.#want(EPOLLIN | EPOLLOUT);
      else if (this.#wanted & EPOLLOUT) this.#want(EPOLLIN);
    } catch (error) {
      this.#fail(error as Error);
    }
  }

  #receive(): void {
    // Nobody passes descriptors to the agent: one that comes unasked does not get in.
    const length = recv(this.#fd.number, this.#buffer);
    if (length === undefined) return;
    if (length === 0) return this.#fail(undefined);
    let rest = this.#buffer.slice(0, length);
    for (let end = rest.indexOf(this.#end); end >= 0; end = rest.indexOf(this.#end)) {
      if (this.#exceeds(end)) return this.#fail(this.#over("sent", "message"));
      this.#listener.message(this.#complete(rest.subarray(0, end)));
      if (this.#closed) return;
      rest = rest.subarray(end + 1);
    }
    if (rest.length === 0) return;
    if (this.#exceeds(rest.length)) return this.#fail(this.#over("sent", "message"));
    this.#partial.push(rest);
    this.#partialLength += rest.length;
  }

  #exceeds(more: number): boolean {
    return this.#partialLength + more > this.#limits.message;
  }

  #complete(tail: Uint8Array): Uint8Array {
    if (this.#partial.length === 0) return tail;
    const message = Buffer.concat([...this.#partial, tail]);
    this.#partial = [];
    this.#partialLength = 0;
    return message;
  }

  #over(did: string, limit: keyof Limits): Error {
    const bytes = this.#limits[limit];
    return new Error(`${this.#fd.path} ${did}: more than ${bytes} bytes of ${limit}; cut off`);
  }

  /** Ends the connection and tells everybody who waits. */
  #fail(error: Error | undefined): void {
    const waiting = this.#queue.splice(0);
    const why = error ?? new Error(`${this.#fd.path}: the other end closed`);
    for (const { fd, sent } of waiting) {
      fd?.[Symbol.dispose]();
      sent(why);
    }
    if (this.#closed) return;
    this.#closed = true;
    this.#watch[Symbol.dispose]();
    this.#fd[Symbol.dispose]();
    this.#listener.closed(error);
  }

  /** Closes the connection; what was not sent yet fails. */
  [Symbol.dispose](): void {
    this.#fail(undefined);
  }
}
