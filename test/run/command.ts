import { spawn } from "node:child_process";
import { delimiter, join } from "node:path";
import { PROJECT } from "../lab/project.ts";

/** What became of a command of the test run. */
export interface Finished {
  /** Exit status, or in words what ended it. */
  readonly status: number | string;
  /** Standard output and standard error, as they came. */
  readonly output: string;
}

/** After SIGTERM a program has this long to clean up. */
const GRACE_MS = 15_000;

/**
 * Runs a command in a process group of its own, so that nothing it started outlives it.
 *
 * @param limitSeconds The group is ended when its time is up.
 * @param onProgress Gets standard error line by line as it comes.
 */
export function runCommand(
  [program, ...args]: readonly [string, ...string[]],
  limitSeconds: number,
  signal: AbortSignal,
  onProgress: (line: string) => void = () => {},
): Promise<Finished> {
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      cwd: PROJECT,
      detached: true,
      env: environment(),
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "", line = "", ended: string | undefined;
    let hardEnd: NodeJS.Timeout | undefined;
    const end = (why: string) => {
      ended ??= why;
      endGroup(child.pid, "SIGTERM");
      hardEnd ??= setTimeout(() => endGroup(child.pid, "SIGKILL"), GRACE_MS);
    };
    const limit = setTimeout(() => end(`not done after ${limitSeconds} s`), limitSeconds * 1000);
    const interrupt = () => end("interrupted");
    signal.addEventListener("abort", interrupt);
    if (signal.aborted) interrupt();

    child.stdout.setEncoding("utf8").on("data", (text: string) => output += text);
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      output += text;
      const lines = (line + text).split("\n");
      line = lines.pop()!;
      for (const whole of lines) onProgress(whole);
    });
    const settle = () => {
      clearTimeout(limit);
      clearTimeout(hardEnd);
      signal.removeEventListener("abort", interrupt);
    };
    child.on("error", (error) => {
      settle();
      resolve({ status: "did not start", output: error.message });
    });
    // A child of the child may hold the pipes open for ever: "close" alone could never come.
    child.on("exit", () => endGroup(child.pid, "SIGKILL"));
    child.on("close", (code, signalName) => {
      settle();
      resolve({ status: ended ?? code ?? signalName!, output });
    });
  });
}

function endGroup(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch (error) {
    // ESRCH: the whole group has ended.
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** The runtimes of node_modules first, and plain text: the summaries are read. */
function environment(): NodeJS.ProcessEnv {
  const { FORCE_COLOR: _, NODE_TEST_CONTEXT: __, ...rest } = process.env;
  return {
    ...rest,
    PATH: [join(PROJECT, "node_modules/.bin"), rest["PATH"]].join(delimiter),
    NO_COLOR: "1",
    DENO_NO_UPDATE_CHECK: "1",
  };
}
