import { existsSync, mkdirSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { compileTo } from "./compiled.ts";
import { hostCommand } from "./host_command.ts";
import { PROJECT } from "./project.ts";

/** What the machine is started for. */
export interface Job {
  /** Program and arguments; run in /src. Empty: an interactive shell. */
  readonly command: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  /** Security context of the command; `undefined` for that of init scripts. */
  readonly domain: string | undefined;
  readonly timeLimitSeconds: number;
  /** Folder of broken policies to bring along; /run/svirt-lab/job/sabotage in the machine. */
  readonly sabotage: string | undefined;
}

/**
 * Writes the disk that carries a job into the machine: a tar with `job/` and, as `src/`, the
 * working tree as it is now, uncommitted changes included.
 */
export async function writeJobDisk(job: Job, folder: string): Promise<string> {
  const disk = join(folder, "job.tar");
  const jobFolder = join(folder, "job");
  mkdirSync(jobFolder);
  const write = (name: string, text: string) => writeFileSync(join(jobFolder, name), text);
  write("command", commandScript(job));
  write("domain", job.domain ?? "default");
  write("time-limit", String(job.timeLimitSeconds));
  if (job.command.length === 0) write("interactive", "");
  if (job.sabotage !== undefined) {
    await hostCommand(["cp", "-r", job.sabotage, join(jobFolder, "sabotage")]);
  }
  await hostCommand(["tar", "cf", disk, "-C", folder, "job"]);
  // deno-fmt-ignore
  await hostCommand([
    "tar", "rf", disk, "-C", PROJECT, "--transform=flags=r;s,^,src/,", "--owner=0", "--group=0",
    "--null", "--verbatim-files-from", "--no-recursion", "--files-from=-",
  ], { input: (await listTree()).join("\0") });
  await addCompiled(disk, folder);
  truncateSync(disk, Math.ceil(statSync(disk).size / 512) * 512); // whole sectors
  return disk;
}

/**
 * Adds `src/dist/`, what an installed package runs: under emulation a start of the program takes
 * three times as long while its types have to be stripped first.
 */
async function addCompiled(disk: string, folder: string): Promise<void> {
  await compileTo(join(folder, "dist"));
  await hostCommand(["tar", "rf", disk, "-C", folder, "--transform=flags=r;s,^,src/,", "dist"]);
}

function commandScript({ command, environment }: Job): string {
  const variables = Object.entries({
    PATH: "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    HOME: "/root",
    LANG: "C.UTF-8",
    LAB: "1",
    LAB_OUT: "/out",
    TERM: process.env["TERM"] ?? "dumb",
    ...environment,
  });
  const program = command.length === 0 ? ["/bin/bash", "-i"] : command;
  return [
    ...variables.map(([name, value]) => `export ${name}=${quote(value)}`),
    "cd /src",
    `exec ${program.map(quote).join(" ")}`,
    "",
  ].join("\n");
}

/** As one word of a POSIX shell. */
export function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/** Tracked files and new ones that are not ignored; without git, everything but what npm installs. */
async function listTree(): Promise<string[]> {
  let paths: string;
  try {
    // deno-fmt-ignore
    paths = await hostCommand([
      "git", "-C", PROJECT, "-c", "safe.directory=*",
      "ls-files", "-z", "--cached", "--others", "--exclude-standard",
    ]);
  } catch {
    // deno-fmt-ignore
    paths = await hostCommand([
      "find", ".", "(", "-name", "node_modules", "-o", "-name", ".git", "-o", "-name", "lab-out", ")",
      "-prune", "-o", "(", "-type", "f", "-o", "-type", "l", ")", "-printf", "%P\\0",
    ], { cwd: PROJECT });
  }
  // git still lists a tracked file that has been deleted
  return [...new Set(paths.split("\0"))].filter((path) => path && existsSync(join(PROJECT, path)));
}
