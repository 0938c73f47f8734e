/**
 * libc.so.6: epoll(7) and eventfd(2). `agent/io/reactor.ts` is their only caller.
 *
 * @module
 */

import koffi from "koffi";
import { bind } from "./check.ts";
import { SystemError } from "./errno.ts";

export const EPOLLIN = 0x1;
export const EPOLLOUT = 0x4;
export const EPOLLERR = 0x8;
export const EPOLLHUP = 0x10;

const EPOLL_CLOEXEC = 0o2000000;
const EFD_CLOEXEC = 0o2000000;
const EFD_NONBLOCK = 0o4000;
const CONTROL = { add: 1, delete: 2, modify: 3 } as const;
/** struct epoll_event is packed on x86-64 only; epoll_ctl(2). */
const EVENT_SIZE = process.arch === "x64" ? 12 : 16;
const DATA_OFFSET = EVENT_SIZE - 8;

interface Libc {
  epoll_create1(flags: number): number;
  epoll_ctl(epfd: number, op: number, fd: number, event: Uint8Array): number;
  eventfd(initval: number, flags: number): number;
  write(fd: number, buffer: Uint8Array, count: number): number;
  read(fd: number, buffer: Uint8Array, count: number): number;
  /** koffi's own function: `.async` runs it on another thread, so only koffi.alloc memory goes in. */
  epoll_wait: { async(...args: unknown[]): void };
}

let loaded: Libc | undefined;

function libc(): Libc {
  if (loaded !== undefined) return loaded;
  const so = koffi.load("libc.so.6");
  // deno-fmt-ignore
  loaded = {
    epoll_create1: bind(so, "int epoll_create1(int flags)"),                                        // epoll_create(2)
    epoll_ctl:     bind(so, "int epoll_ctl(int epfd, int op, int fd, void *event)"),                // epoll_ctl(2)
    eventfd:       bind(so, "int eventfd(unsigned int initval, int flags)"),                        // eventfd(2)
    write:         bind(so, "int64_t write(int fd, const void *buf, size_t count)"),                // write(2)
    read:          bind(so, "int64_t read(int fd, void *buf, size_t count)"),                       // read(2)
    epoll_wait:    so.func("int epoll_wait(int epfd, void *events, int maxevents, int timeout)"),   // epoll_wait(2)
  };
  return loaded;
}

/** epoll_create1(2); the caller owns the descriptor. */
export function createEpoll(): number {
  const fd = libc().epoll_create1(EPOLL_CLOEXEC);
  if (fd < 0) throw SystemError.last("epoll_create1");
  return fd;
}

/** epoll_ctl(2): `data` comes back with each event. */
export function control(
  epfd: number,
  op: keyof typeof CONTROL,
  fd: number,
  events: number,
  data: number,
): void {
  const event = new Uint8Array(EVENT_SIZE);
  const view = new DataView(event.buffer);
  view.setUint32(0, events, true);
  view.setUint32(DATA_OFFSET, data, true);
  if (libc().epoll_ctl(epfd, CONTROL[op], fd, event) !== 0) {
    throw SystemError.last("epoll_ctl", { path: `fd ${fd}` });
  }
}

/** One ready descriptor: the `data` it was added with, and EPOLL*. */
export interface Ready {
  readonly data: number;
  readonly events: number;
}

/** Memory for the answers of one parked {@linkcode wait}. */
export class EventBuffer {
  readonly size: number;
  readonly memory: unknown;
  readonly #view: DataView;

  constructor(size: number) {
    this.size = size;
    this.memory = koffi.alloc("uint8_t", size * EVENT_SIZE);
    this.#view = new DataView(koffi.view(this.memory, size * EVENT_SIZE));
  }

  /** The first `count` answers. */
  read(count: number): Ready[] {
    return Array.from({ length: count }, (_, i) => ({
      events: this.#view.getUint32(i * EVENT_SIZE, true),
      data: this.#view.getUint32(i * EVENT_SIZE + DATA_OFFSET, true),
    }));
  }
}

/** epoll_wait(2) without a time limit, on another thread; -1 (EINTR, mostly) is answered as 0. */
export function wait(epfd: number, buffer: EventBuffer): Promise<number> {
  return new Promise((resolve, reject) => {
    libc().epoll_wait.async(
      epfd,
      buffer.memory,
      buffer.size,
      -1,
      (error: Error | null, count: number) => error ? reject(error) : resolve(Math.max(count, 0)),
    );
  });
}

/** eventfd(2), non-blocking; the caller owns the descriptor. */
export function createEventFd(): number {
  const fd = libc().eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (fd < 0) throw SystemError.last("eventfd");
  return fd;
}

/** Makes an eventfd readable. */
export function signal(fd: number): void {
  libc().write(fd, new Uint8Array(new BigUint64Array([1n]).buffer), 8);
}

/** Makes an eventfd unreadable again. */
export function drain(fd: number): void {
  libc().read(fd, new Uint8Array(8), 8);
}
