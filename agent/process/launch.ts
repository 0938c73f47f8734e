import { type ChildProcess, spawn } from "node:child_process";
import { constants } from "node:os";
import { pidfdOpen, pidfdSendSignal } from "../../ffi/libc_process.ts";
import { harmless } from "../io/json.ts";
import { OwnedFd } from "../owned_fd.ts";
import { Console } from "./console.ts";
import type { Launch } from "./launcher.ts";
import { commandFor } from "./runtime.ts";

/** How long its last words may take once it is gone: a process that it forked holds them open. */
const LAST_WORDS_MS = 500;

/** A QEMU that this agent started. */
export class QemuProcess implements Disposable {
  readonly pid: number;
  /** Resolves with what ended it, `exit 1` or `SIGKILL`. */
  readonly ended: Promise<string>;
  readonly #pidfd: OwnedFd;
  readonly #console: Console;
  /** What the launcher said before it became QEMU. */
  #launcher = "";
  #end: string | undefined;

  /**
   * Starts the launcher, which becomes QEMU under the same pid.
   *
   * @param inherited Lent; QEMU has them from number `FIRST_INHERITED` on.
   */
  static start(launch: Launch, inherited: readonly OwnedFd[] = []): QemuProcess {
    const [command, ...args] = commandFor(
      import.meta.url,
      "launcher",
      JSON.stringify(launch),
    );
    const words = new Console(launch.console);
    // detached: a Ctrl-C at the terminal is for the agent, which stops the guest in order.
    const stdio = [
      ...["ignore", "ignore", "pipe"] as const,
      ...inherited.map(({ number }) => number),
    ];
    try {
      const child = spawn(command, args, { stdio, cwd: "/", detached: true });
      if (child.pid === undefined) throw new Error(`Cannot start ${command}`);
      return new QemuProcess(child, child.pid, words);
    } catch (error) {
      words[Symbol.dispose]();
      throw error;
    }
  }

  private constructor(child: ChildProcess, pid: number, words: Console) {
    this.pid = pid;
    this.#console = words;
    // Nobody has reaped it yet, so the pid still means this child.
    this.#pidfd = new OwnedFd(pidfdOpen(pid), `pid ${pid}`);
    child.stderr!.on("data", (chunk) => this.#launcher += chunk);
    this.ended = new Promise((resolve) => {
      const finish = (code: number | null, signal: string | null) => {
        this.#end ??= signal ?? `exit ${code}`;
        resolve(this.#end);
      };
      child.on("close", (...end) => void words.closed.then(() => finish(...end)));
      child.on("exit", (...end) => void setTimeout(() => finish(...end), LAST_WORDS_MS).unref());
    });
  }

  /** The last it wrote to stdout and stderr; control characters are replaced. */
  get lastWords(): string {
    return (this.#launcher + this.#console.tail).trim().split("\n").map(harmless).join("\n");
  }

  /** What ended it, if anything did. */
  get end(): string | undefined {
    return this.#end;
  }

  /** Sends a signal to this process, never to a later one with its pid. */
  signal(name: "SIGTERM" | "SIGKILL"): void {
    if (this.#end !== undefined) return;
    try {
      pidfdSendSignal(this.#pidfd.number, constants.signals[name]);
    } catch (error) {
      if ((error as { code?: string }).code !== "ESRCH") throw error;
    }
  }

  [Symbol.dispose](): void {
    this.#pidfd[Symbol.dispose]();
    this.#console[Symbol.dispose]();
  }
}
