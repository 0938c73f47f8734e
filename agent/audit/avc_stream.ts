import { EPOLLIN } from "../../ffi/libc_epoll.ts";
import {
  AF_NETLINK,
  AUDIT_NLGRP_READLOG,
  bindNetlink,
  NETLINK_AUDIT,
  recvmsg,
  setReceiveBuffer,
  SOCK_RAW,
  socket,
} from "../../ffi/libc_socket.ts";
import { SystemError } from "../../ffi/errno.ts";
import { reactor, type Watch } from "../io/reactor.ts";
import { OwnedFd } from "../owned_fd.ts";
import { type Avc, parseAvc } from "./avc.ts";

/** AUDIT_AVC; <linux/audit.h>. */
const AVC_TYPE = 1400;
/** struct nlmsghdr; netlink(7). */
const HEADER_LENGTH = 16;
/** A burst of denials must not push out the one that is waited for. */
const RECEIVE_BUFFER = 4 << 20;

/**
 * The kernel's own record of every denial, as it is made: netlink group AUDIT_NLGRP_READLOG, with
 * auditd and without. Nobody but the kernel can write there.
 */
export class AvcStream implements Disposable {
  readonly #fd: OwnedFd;
  readonly #watch: Watch;
  readonly #buffer = new Uint8Array(65536);
  readonly #listeners = new Set<(avc: Avc) => void>();
  /** Denials the kernel dropped because nobody read fast enough. */
  lost = 0;

  private constructor(fd: OwnedFd) {
    this.#fd = fd;
    this.#watch = reactor().watch(fd.number, EPOLLIN, () => this.#receive());
  }

  /**
   * Joins the group.
   *
   * @throws {@linkcode SystemError} `EPERM` without CAP_AUDIT_READ, which SELinux asks for as well.
   */
  static open(): AvcStream {
    const fd = new OwnedFd(socket(AF_NETLINK, SOCK_RAW, NETLINK_AUDIT), "netlink audit");
    try {
      setReceiveBuffer(fd.number, RECEIVE_BUFFER);
      bindNetlink(fd.number, AUDIT_NLGRP_READLOG);
      return new AvcStream(fd);
    } catch (error) {
      fd[Symbol.dispose]();
      if (!(error instanceof SystemError) || error.code !== "EPERM") throw error;
      throw error.withHint(
        "Let the agent read the audit stream: setsebool svirt_agent_read_audit on",
      );
    }
  }

  /** Hears every denial until the answer is called. */
  onAvc(listener: (avc: Avc) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * The denial that `provoke` leads to.
   *
   * @param matches Picks it out by pid, class, permission and inode.
   * @param ms How long to wait for the record after `provoke` is done.
   * @returns `undefined` for the denial when none came in time.
   */
  async during<T>(
    matches: (avc: Avc) => boolean,
    provoke: () => Promise<T>,
    ms: number,
  ): Promise<{ result: T; avc: Avc | undefined }> {
    let stop = () => {};
    const found = new Promise<Avc>((resolve) => {
      stop = this.onAvc((avc) => matches(avc) && resolve(avc));
    });
    try {
      const result = await provoke();
      return { result, avc: await within(found, ms) };
    } finally {
      stop();
    }
  }

  #receive(): void {
    for (;;) {
      let received;
      try {
        received = recvmsg(this.#fd.number, this.#buffer);
      } catch (error) {
        this.lost++;
        if ((error as SystemError).code === "ENOBUFS") continue;
        // Nothing can be thrown at the reactor; without the stream verdicts become unknown.
        return this.#watch[Symbol.dispose]();
      }
      if (received === undefined) return;
      this.#messages(this.#buffer.subarray(0, received.length));
    }
  }

  #messages(bytes: Uint8Array): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    for (let at = 0; at + HEADER_LENGTH <= bytes.length;) {
      // Audit messages do not count their own header in nlmsg_len on every kernel: trust the bound.
      const length = Math.max(view.getUint32(at, true), HEADER_LENGTH);
      if (view.getUint16(at + 4, true) === AVC_TYPE) {
        const text = new TextDecoder().decode(bytes.subarray(at + HEADER_LENGTH));
        const avc = parseAvc(`type=${AVC_TYPE} ${text.replace(/\0.*$/s, "")}`);
        if (avc !== undefined) { for (const listener of this.#listeners) listener(avc); }
      }
      at += (length + 3) & ~3;
    }
  }

  [Symbol.dispose](): void {
    this.#watch[Symbol.dispose]();
    this.#fd[Symbol.dispose]();
  }
}

async function within<T>(promise: Promise<T>, ms: number): Promise<T | undefined> {
  let timer;
  const late = new Promise<undefined>((resolve) => timer = setTimeout(resolve, ms, undefined));
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
