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

  /** Hands it a duplicate of the very open file that a guest's QEMU holds; answers its number. */
  async take(pid: number, descriptor: number): Promise<number> {
    const pidfd = pidfdOpen(pid);
    try {
      const copy = new OwnedFd(pidfdGetfd(pidfd, descriptor), `pid ${pid} fd ${descriptor}`);
      const [number] = (await this.ask("recv", copy)).split(" ");
      if (!/^\d+$/.test(number!)) throw new Error(`The holder did not get it: ${number}`);
      return Number(number);
    } finally {
      close(pidfd);
    }
  }

  [Symbol.dispose](): void {
    this.#socket[Symbol.dispose]();
  }
}
