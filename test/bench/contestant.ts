import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface, type Interface } from "node:readline";
import { findRuntimes, PROJECT, type Runtime } from "../lab/project.ts";

/** Longest wait for one answer: the machine may be busy. */
const ANSWER_MS = 60_000;

/**
 * A program that measures itself: to each line that it reads it answers with one line, the times of
 * what it did, in microseconds.
 */
export class Contender implements Disposable {
  readonly #child: ChildProcess;
  readonly #lines: Interface;
  readonly #name: string;
  #ended = false;

  private constructor(child: ChildProcess, name: string) {
    this.#child = child;
    this.#name = name;
    this.#lines = createInterface({ input: child.stdout! });
    this.#lines.on("close", () => this.#ended = true);
  }

  static start(command: readonly string[], name: string): Contender {
    const [program, ...args] = command as [string, ...string[]];
    const child = spawn(program, args, { cwd: PROJECT, stdio: ["pipe", "pipe", "inherit"] });
    // Its end is noticed where an answer is awaited.
    child.on("error", () => {}).stdin!.on("error", () => {});
    return new Contender(child, name);
  }

  /** @throws `Error` when it ends or stays silent instead. */
  ask(line: string): Promise<number[]> {
    const gone = () => new Error(`${this.#name} ended without an answer`);
    if (this.#ended) return Promise.reject(gone());
    return new Promise((resolve, reject) => {
      const done = (settle: () => void) => {
        clearTimeout(timer);
        this.#lines.off("line", answer);
        this.#lines.off("close", ended);
        settle();
      };
      const answer = (text: string) => done(() => resolve(text.split(" ").map(Number)));
      const ended = () => done(() => reject(gone()));
      const timer = setTimeout(
        () => done(() => reject(new Error(`${this.#name} does not answer`))),
        ANSWER_MS,
      );
      this.#lines.once("line", answer).once("close", ended);
      this.#child.stdin!.write(`${line}\n`);
    });
  }

  [Symbol.dispose](): void {
    this.#child.stdin!.end();
    this.#child.kill("SIGKILL");
  }
}

/** The runtimes of node_modules. */
export function runtimes(): Runtime[] {
  return findRuntimes();
}

/**
 * The command that runs one of the project's own `.ts` files.
 *
 * @param compiled The folder of the compiled tree: Node 22, which does not know `using`, runs that.
 */
export function runtimeCommand(
  { name, file }: Runtime,
  script: string,
  compiled: string,
): string[] {
  if (name === "node22") return [file, join(compiled, script.replace(/\.ts$/, ".js"))];
  const options = name === "deno" ? ["run", "--quiet", "--allow-all", "--no-lock"] : [];
  return [file, ...options, script];
}
