import { spawn } from "node:child_process";

/** What became of a command. */
export interface Finished {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A `run` that should have refused, but guards a guest now, would not end by itself. */
const LIMIT_MS = 600_000;

/** Runs a command to its end; one that does not come to it is sent SIGTERM. */
export function command(
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Finished> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      env: { ...process.env, ...env },
      stdio: "pipe",
      timeout: LIMIT_MS,
    });
    child.stdin.end();
    let stdout = "", stderr = "";
    child.stdout.on("data", (chunk) => stdout += chunk);
    child.stderr.on("data", (chunk) => stderr += chunk);
    child.on("error", reject);
    child.on("close", (code, signal) => {
      resolve({ status: code ?? (signal === "SIGKILL" ? 137 : 128), stdout, stderr });
    });
  });
}

/** Runs a command that has to succeed; answers what it printed. */
export async function must(program: string, ...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await command(program, args);
  if (status === 0) return stdout;
  throw new Error(`${program} ${args.join(" ")}: exit ${status}: ${stderr || stdout}`);
}

/** Runs `svirt-agent`, in the agent's own domain. */
export function svirtAgent(...args: string[]): Promise<Finished> {
  return command("/usr/sbin/svirt-agent", args);
}
