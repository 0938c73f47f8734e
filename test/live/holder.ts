import { spawn } from "node:child_process";
import { rmSync } from "node:fs";
import { close } from "../../ffi/libc.ts";
import { pidfdGetfd, pidfdOpen } from "../../ffi/libc_process.ts";
import { accept, connectUnix, listenUnix } from "../../ffi/libc_socket.ts";
import { MessageSocket } from "../../agent/io/message_socket.ts";
import { parseContext } from "../../agent/label/context.ts";
import { createSocket, createSocketAt } from "../../agent/label/socket.ts";
import { OwnedFd } from "../../agent/owned_fd.ts";

const PROGRAM = "/usr/libexec/svirt-lab/holder";
const LIMITS = { message: 1 << 16, queue: 1 << 16 };

/** One thing that a holder tried. */
export interface Attempt {
  /** The name (comm) of the thread that tried it, by which its denials are found. */
  readonly tag: string;
  /** The value behind `ok`, or `err ENAME`. */
  readonly said: string;
}

/** Of all holders, so that no two attempts share one. */
let attempts = 0;

/** A duplicate of what a process holds, as the same open file; the caller owns it. */
export function lendFrom(pid: number, descriptor: number): OwnedFd {
  const pidfd = pidfdOpen(pid);
  try {
    return new OwnedFd(pidfdGetfd(pidfd, descriptor), `pid ${pid} fd ${descriptor}`);
  } finally {
    close(pidfd);
  }
}

/**
 * A program that is not QEMU, runs in a guest's exact context and as its user, and does with a
 * descriptor what a guest could do that has taken QEMU over.
 */
export class Holder implements Disposable {
  readonly pid: number;
  /** As the kernel shows it. */
  context = "";
  readonly #socket: MessageSocket;
  readonly #waiting: ((line: string) => void)[] = [];

  static async start(context: string, user: string): Promise<Holder> {
    const path = `/run/holder-${process.pid}-${Math.random().toString(36).slice(2)}`;
    // The holder's end has the guest's type, and both its level, or the holder could not write to it.
    using listener = createSocket(context, path);
    listenUnix(listener.number, path, 1);
    const ours = createSocketAt(parseContext(context).level ?? "s0", path);
    connectUnix(ours.number, path);
    using theirs = new OwnedFd(accept(listener.number)!, path);
    rmSync(path);
    const child = spawn(
      "setpriv",
      // deno-fmt-ignore
      ["--reuid", user, "--regid", user, "--init-groups", "runcon", context, PROGRAM],
      // Not ours: what a test writes to is a socket, which a guest's domain may not use.
      { stdio: ["ignore", "ignore", "ignore", theirs.number] },
    );
    const holder = new Holder(child.pid!, ours);
    [holder.context] = (await holder.ask("whoami")).split(" ") as [string];
    return holder;
  }

  private constructor(pid: number, socket: OwnedFd) {
    this.pid = pid;
    this.#socket = new MessageSocket(socket, "\n", LIMITS, {
      message: (bytes) => this.#waiting.shift()?.(new TextDecoder().decode(bytes)),
      closed: () => {
        for (const answer of this.#waiting.splice(0)) answer("err GONE");
      },
    });
  }

  /** What the holder answered: the value behind `ok`, or `err ENAME` whole. */
  async ask(command: string, passed?: OwnedFd): Promise<string> {
    const answer = new Promise<string>((resolve) => this.#waiting.push(resolve));
    await this.#socket.send(new TextEncoder().encode(command), passed);
    return (await answer).replace(/^ok /, "");
  }

  /** Tries something under a name of its own; in a child or thread of the holder's where one is given. */
  async attempt(command: string, worker?: string, passed?: OwnedFd): Promise<Attempt> {
    const tag = `try${++attempts}`;
    const where = worker === undefined ? "" : `in ${worker} `;
    // A descriptor is received before the command that it comes with is read.
    if (passed !== undefined) await this.ask(`@${tag} whoami`);
    return { tag, said: await this.ask(`${where}@${tag} ${command}`, passed) };
  }

  /** Hands it a duplicate of the very open file that a guest's QEMU holds; answers its number. */
  async take(pid: number, descriptor: number): Promise<number> {
    const [number] = (await this.ask("recv", lendFrom(pid, descriptor))).split(" ");
    if (!/^\d+$/.test(number!)) throw new Error(`The holder did not get it: ${number}`);
    return Number(number);
  }

  [Symbol.dispose](): void {
    this.#socket[Symbol.dispose]();
  }
}
