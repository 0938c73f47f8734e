import {
  control,
  createEpoll,
  createEventFd,
  drain,
  EventBuffer,
  signal,
  wait,
} from "../../ffi/libc_epoll.ts";
import { close } from "../../ffi/libc.ts";

/** Called with EPOLL* when a descriptor is ready. Must not throw: nobody is there to catch it. */
export type Ready = (events: number) => void;

const WAKE = 0;

/**
 * Waits for all descriptors of the agent at once: one epoll descriptor, one `epoll_wait` parked on
 * another thread, one eventfd to wake it.
 *
 * node:net cannot do this: descriptors that came through FFI are refused by Deno and never read by
 * Bun, and none of the three runtimes passes descriptors over a socket.
 */
export class Reactor {
  readonly #epoll: number = createEpoll();
  readonly #wake: number = createEventFd();
  readonly #buffer = new EventBuffer(64);
  readonly #watched = new Map<number, { fd: number; ready: Ready }>();
  #next = WAKE + 1;
  #running = false;
  #loop: Promise<void> = Promise.resolve();

  constructor() {
    control(this.#epoll, "add", this.#wake, 1, WAKE);
    // A parked wait would keep Node from ending after process.exit or an uncaught error.
    process.on("exit", () => signal(this.#wake));
  }

  /**
   * Watches a descriptor until the answer is disposed; the runtime stays alive that long.
   *
   * @param fd Lent: dispose of the watch before closing it.
   */
  watch(fd: number, events: number, ready: Ready): Watch {
    const id = this.#next++;
    control(this.#epoll, "add", fd, events, id);
    this.#watched.set(id, { fd, ready });
    if (!this.#running) this.#loop = this.#run();
    return {
      change: (events) => control(this.#epoll, "modify", fd, events, id),
      [Symbol.dispose]: () => {
        if (!this.#watched.delete(id)) return;
        control(this.#epoll, "delete", fd, 0, id);
        // The last one gone: unpark, so that the program can end.
        if (this.#watched.size === 0) signal(this.#wake);
      },
    };
  }

  /**
   * When nothing is watched and no wait is parked any more. A runtime that is torn down before, as
   * `deno test` does behind the last test, runs the parked thread's callback in freed memory.
   */
  get atRest(): Promise<void> {
    return this.#loop;
  }

  async #run(): Promise<void> {
    this.#running = true;
    while (this.#watched.size > 0) {
      const count = await wait(this.#epoll, this.#buffer);
      for (const { data, events } of this.#buffer.read(count)) {
        if (data === WAKE) drain(this.#wake);
        // A watch that an earlier event of this round disposed of is gone from the map.
        else this.#watched.get(data)?.ready(events);
      }
    }
    this.#running = false;
  }

  /** Closes the reactor's own descriptors; only for one that watches nothing. */
  [Symbol.dispose](): void {
    close(this.#epoll);
    close(this.#wake);
  }
}

/** One watched descriptor. */
export interface Watch extends Disposable {
  /** Waits for other events from now on, EPOLL*. */
  change(events: number): void;
}

let shared: Reactor | undefined;

/** The one reactor of this process. */
export function reactor(): Reactor {
  return shared ??= new Reactor();
}
