import { EPOLLIN } from "../../ffi/libc_epoll.ts";
import { accept, listenUnix, recvmsg } from "../../ffi/libc_socket.ts";
import { close } from "../../ffi/libc.ts";
import { reactor, type Watch } from "../io/reactor.ts";
import { createSocketAt } from "../label/socket.ts";
import { OwnedFd } from "../owned_fd.ts";

/** Most characters of QEMU's last words that are kept. */
const TAIL = 4096;

/**
 * Takes what QEMU writes to stdout and stderr.
 *
 * A socket of the guest's own context and not a pipe of the runtime's: pipes keep the agent's label,
 * at whose level a guest may not write, and of the three runtimes only two make sockets instead. The
 * launcher makes it and passes its other end, because a guest may connect to nothing of the agent's.
 */
export class Console implements Disposable {
  /** Resolves when QEMU, and whatever it forked, has closed it. */
  readonly closed: Promise<void>;
  readonly #hangUp: () => void;
  readonly #buffer = new Uint8Array(TAIL);
  readonly #decoder = new TextDecoder();
  #end: OwnedFd;
  #watch: Watch;
  #tail = "";

  /** Listens on `path`, which must not exist, for a launcher. */
  constructor(path: string) {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.closed = promise;
    this.#hangUp = resolve;
    this.#end = createSocketAt("s0", path);
    try {
      listenUnix(this.#end.number, path, 1);
      this.#watch = reactor().watch(this.#end.number, EPOLLIN, () => this.#quietly(this.#accept));
    } catch (error) {
      this.#end[Symbol.dispose]();
      throw error;
    }
  }

  /** The last that was written. */
  get tail(): string {
    return this.#tail;
  }

  #accept(): void {
    const connection = accept(this.#end.number);
    if (connection !== undefined) this.#become(connection, this.#receive);
  }

  /** The launcher's one message: the other end of what QEMU will write to. */
  #receive(): void {
    const received = recvmsg(this.#end.number, this.#buffer);
    if (received === undefined) return;
    if (received.fd === undefined) return this[Symbol.dispose]();
    this.#become(received.fd, this.#read);
  }

  /** Takes ownership of `fd`, which it waits for from now on. */
  #become(fd: number, ready: (this: Console) => void): void {
    const { path } = this.#end;
    this.#release();
    this.#end = new OwnedFd(fd, path);
    this.#watch = reactor().watch(fd, EPOLLIN, () => this.#quietly(ready));
  }

  #read(): void {
    const received = recvmsg(this.#end.number, this.#buffer);
    if (received === undefined) return;
    // A guest that passes descriptors here must not fill the agent's table.
    if (received.fd !== undefined) close(received.fd);
    if (received.length === 0) return this[Symbol.dispose]();
    const bytes = this.#buffer.subarray(0, received.length);
    this.#tail = (this.#tail + this.#decoder.decode(bytes, { stream: true })).slice(-TAIL);
  }

  /** Nobody is there to catch it: a console that fails ends, and the guest runs on. */
  #quietly(work: (this: Console) => void): void {
    try {
      work.call(this);
    } catch {
      this[Symbol.dispose]();
    }
  }

  #release(): void {
    this.#watch[Symbol.dispose]();
    this.#end[Symbol.dispose]();
  }

  /** Closes it; a second call does nothing. */
  [Symbol.dispose](): void {
    this.#release();
    this.#hangUp();
  }
}
