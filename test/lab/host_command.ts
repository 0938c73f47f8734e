import { spawn } from "node:child_process";

/** A program of the build host ended with a status other than 0, or could not be started. */
export class HostCommandError extends Error {
  override readonly name = "HostCommandError";
  /** Exit status; -1 when it could not be started or was killed. */
  readonly status: number;

  constructor(command: readonly string[], status: number, stderr: string) {
    const tail = stderr.trimEnd().split("\n").slice(-15).join("\n");
    super(`\`${command.slice(0, 6).join(" ")}\` exited with ${status}\n${tail}`);
    this.status = status;
  }
}

/** What a caller may add to {@linkcode hostCommand}. */
export interface HostCommandOptions {
  readonly cwd?: string;
  /** Written to its standard input, which is otherwise empty. */
  readonly input?: string;
  /** Added to this process's environment. */
  readonly environment?: Readonly<Record<string, string>>;
}

/**
 * Runs a program of the build host to its end and returns its standard output.
 *
 * @throws {@linkcode HostCommandError} with the last lines of its standard error.
 */
export function hostCommand(
  command: readonly [string, ...string[]],
  options: HostCommandOptions = {},
): Promise<string> {
  const [program, ...args] = command;
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd: options.cwd,
      // sbin: mke2fs and chroot, which a user's PATH lacks. C: messages are shown as they are.
      env: {
        ...process.env,
        PATH: `${process.env["PATH"]}:/usr/sbin:/sbin`,
        LC_ALL: "C.UTF-8",
        ...options.environment,
      },
    });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => stdout += text);
    child.stderr.setEncoding("utf8").on("data", (text: string) => stderr += text);
    // EPIPE when it does not read its input to the end: its status tells what that meant.
    child.stdin.on("error", () => {}).end(options.input ?? "");
    child.on("error", (error) => reject(new HostCommandError(command, -1, error.message)));
    child.on("close", (status) => {
      if (status === 0) resolve(stdout);
      else reject(new HostCommandError(command, status ?? -1, stderr || stdout));
    });
  });
}

/** A shell script whose first failing command ends it; `$1`, `$2`, ... are `args`. */
export function hostScript(
  script: string,
  args: readonly string[],
  options?: HostCommandOptions,
): Promise<string> {
  return hostCommand(["sh", "-euc", script, "lab", ...args], options);
}
