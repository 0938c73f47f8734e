/**
 * A virtual machine with SELinux enforcing, to run a command of the working tree in.
 *
 * 1. `release.ts`: what a release is made of; `base.ts` bootstraps it, `image.ts` puts the project's
 *    policy, runtimes and `guest/` into it; `cache.ts` keeps both by the hash of their inputs.
 * 2. `job.ts` packs the working tree and the command, `machine.ts` boots QEMU.
 * 3. In the machine: `guest/initramfs`, `guest/init` (kernel_t), `guest/init2` (init_t),
 *    `guest/rc` (initrc_t: services, then the command).
 * 4. Back on the host: `/out` is unpacked, `avcs.ts` accounts for each denial (`accounting.ts`).
 *
 * @module
 */

import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync } from "node:fs";
import { ftruncateSync, readdirSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Accounting } from "./accounting.ts";
import { accountFor } from "./avcs.ts";
import { isBuilt, provideStage } from "./cache.ts";
import { hostCommand } from "./host_command.ts";
import { installHostPackages } from "./host_packages.ts";
import { imageStage } from "./image.ts";
import { writeJobDisk } from "./job.ts";
import { boot } from "./machine.ts";
import { type Progress, silent } from "./progress.ts";
import { PROJECT } from "./project.ts";
import { findRelease } from "./release.ts";
import { sabotageStage } from "./sabotage.ts";

export type { Accounting } from "./accounting.ts";
export type { Avc } from "../../agent/audit/avc.ts";
export { type Progress, progressOn } from "./progress.ts";

/** Release that is booted unless another one is asked for. */
export const DEFAULT_RELEASE = "13";

/** Exit status of the command that was killed for its time limit; timeout(1). */
export const STATUS_TIME_LIMIT = 124;

/** The machine gave no answer: it could not be built, did not boot, or lost its results. */
export class LabError extends Error {
  override readonly name = "LabError";
}

/**
 * Builds what is missing or outdated for `release`.
 *
 * @returns The folder that holds the image.
 * @throws `HostCommandError` of the step that failed, or `Error` naming missing Debian packages.
 */
export async function buildLab(
  release: string,
  { progress = silent }: { progress?: Progress } = {},
): Promise<string> {
  const stage = imageStage(findRelease(release), progress);
  const isThere = isBuilt(stage);
  await installHostPackages(isThere ? "run" : "build", progress);
  if (!isThere && process.getuid?.() !== 0) {
    throw new LabError(
      "Building the lab needs root: it installs packages in a folder and labels files.\n" +
        "Hint: run this once as root, with SVIRT_LAB_CACHE set to a folder that you may read",
    );
  }
  return await provideStage(stage, progress);
}

/** Folder of the policies that are broken on purpose; built unless it is there. */
async function buildSabotage(release: string, progress: Progress): Promise<string> {
  return await provideStage(sabotageStage(findRelease(release), progress), progress);
}

/** What to run in the lab, and how. */
export interface LabRun {
  /** @default {@linkcode DEFAULT_RELEASE} */
  release?: string;
  /** Program and arguments, run in /src; empty for an interactive shell on this terminal. */
  command: readonly string[];
  /** Context of the command. @default that of init scripts, `system_u:system_r:initrc_t:...` */
  domain?: string;
  /** Time for the command itself; 600 unless given. */
  timeLimitSeconds?: number;
  /** Folder that receives /out; it is emptied first. @default lab-out of the working tree */
  out?: string;
  environment?: Readonly<Record<string, string>>;
  /** Brings the policies along that are broken on purpose, `sabotage/`; they are built if need be. */
  sabotage?: boolean;
  /** Standard output and error of the command, as they come. */
  onOutput?: (bytes: Uint8Array) => void;
  progress?: Progress;
  /** Kills the machine; the run then rejects with {@linkcode LabError}. */
  signal?: AbortSignal;
}

/** What came of a run. */
export interface LabResult {
  /** Exit status of the command; {@linkcode STATUS_TIME_LIMIT} when its time was up. */
  readonly status: number;
  /** From the start of QEMU to its end. */
  readonly seconds: number;
  /** Denials that no test claimed and no list allows are in `unexpected`. */
  readonly avcs: Accounting;
}

/**
 * A hung machine is killed this long after the time limit. A healthy one takes 8 s to boot and 2 s to
 * end, and several times that where other work keeps the processors busy.
 */
const BOOT_SECONDS = 60;

/**
 * Emulation is not perfect: now and then a kernel panics while it boots. Nothing of ours has run by
 * then, so another attempt hides no defect of the project.
 */
const BOOT_ATTEMPTS = 3;

/** Largest /out that can be brought back; sparse. */
const RESULT_BYTES = 1 << 30;

/**
 * Builds the lab if need be, boots it, runs one command in it, and brings /out back.
 *
 * @throws {@linkcode LabError} when the lab itself failed; `console.log` in `out` then tells more.
 */
export async function runInLab(run: LabRun): Promise<LabResult> {
  const { release = DEFAULT_RELEASE, timeLimitSeconds = 600, progress = silent } = run;
  const image = await buildLab(release, { progress });
  const out = run.out === undefined ? emptied(join(PROJECT, "lab-out")) : emptyFolder(run.out);
  const scratch = mkdtempSync(join(tmpdir(), "svirt-lab-"));
  try {
    const jobDisk = await writeJobDisk({
      command: run.command,
      domain: run.domain,
      timeLimitSeconds,
      sabotage: run.sabotage ? await buildSabotage(release, progress) : undefined,
      environment: { LAB_RELEASE: release, ...run.environment },
    }, scratch);
    const interactive = run.command.length === 0;
    const resultDisk = join(scratch, "result.tar");
    const consoleLog = join(out, "console.log");
    for (let attempt = 1;; attempt++) {
      createSparse(resultDisk, RESULT_BYTES);
      const start = performance.now();
      const end = await boot({
        image,
        jobDisk,
        resultDisk,
        consoleLog: interactive ? undefined : consoleLog,
        limitSeconds: interactive ? undefined : timeLimitSeconds + BOOT_SECONDS,
        onOutput: run.onOutput ?? (() => {}),
        signal: run.signal,
      });
      const seconds = (performance.now() - start) / 1000;
      if (end === "aborted") throw new LabError("The machine was killed on request");
      if (end === "off" && !hasStarted(consoleLog) && attempt < BOOT_ATTEMPTS && !interactive) {
        renameSync(consoleLog, join(out, `console.attempt-${attempt}.log`));
        progress.say("the machine ended before the command began; starting it once more");
        continue;
      }
      if (end === "time-limit" && !hasStarted(consoleLog)) {
        throw new LabError(
          `The machine hung before the command began.\nHint: look at ${consoleLog}`,
        );
      }
      const status = end === "time-limit"
        ? STATUS_TIME_LIMIT
        : await unpackResults(resultDisk, scratch, out);
      return { status, seconds, avcs: accountFor(out) };
    }
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** Has `guest/rc` come as far as the command? */
function hasStarted(consoleLog: string): boolean {
  return existsSync(consoleLog) && readFileSync(consoleLog, "utf8").includes("LAB command starts");
}

async function unpackResults(disk: string, scratch: string, out: string): Promise<number> {
  try {
    await hostCommand(["tar", "xf", disk, "-C", scratch, "status"]);
    // deno-fmt-ignore
    await hostCommand([
      "tar", "xf", disk, "-C", out, "--strip-components=1", "--no-same-owner", "out",
    ]);
    assertComplete(out);
    return Number(readFileSync(join(scratch, "status"), "utf8"));
  } catch (cause) {
    if (cause instanceof LabError) throw cause;
    const log = join(out, "console.log");
    const hint = existsSync(log) ? `\nHint: look at ${log}` : "";
    throw new LabError(`The machine ended without a result.${hint}`, { cause });
  }
}

/** Without the whole audit log, "no denials" would mean nothing. */
function assertComplete(out: string): void {
  if (!readFileSync(join(out, "audit.log"), "utf8").includes("lab-end")) {
    throw new LabError(`The audit log is not complete.\nHint: look at ${join(out, "dmesg.txt")}`);
  }
  const lost = /audit_lost=(\d+)/.exec(readFileSync(join(out, "dmesg.txt"), "utf8"));
  if (lost !== null) throw new LabError(`The kernel dropped ${lost[1]} audit records`);
}

/** Refuses to empty a folder that no earlier run has filled: `--out .` is a slip, not a wish. */
function emptyFolder(path: string): string {
  const folder = resolve(path);
  const isOurs = existsSync(join(folder, "console.log")) || existsSync(join(folder, "audit.log"));
  if (existsSync(folder) && readdirSync(folder).length > 0 && !isOurs) {
    throw new LabError(`Cannot use "${folder}" for results: it holds files of somebody else`);
  }
  return emptied(folder);
}

function emptied(folder: string): string {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  return folder;
}

function createSparse(file: string, bytes: number): void {
  const fd = openSync(file, "w");
  ftruncateSync(fd, bytes);
  closeSync(fd);
}
