import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, renameSync, statSync, utimesSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { hostCommand } from "./host_command.ts";
import { lock } from "./lock.ts";
import type { Progress } from "./progress.ts";

/** One step of the build whose outcome is a folder, found again by the hash of all it is made from. */
export interface Stage {
  /** Prefix of the folder's name. */
  readonly name: string;
  /** Everything the outcome depends on. */
  readonly inputs: readonly string[];
  /** The stage that this one starts from. */
  readonly from?: Stage;
  /** How many outcomes of this name stay, the one just built included. */
  readonly keep: number;
  /**
   * Fills `folder`, which is renamed to its final name only when this returns.
   *
   * @param from Folder of the stage that this one starts from; empty where there is none.
   */
  build(folder: string, from: string): Promise<void>;
}

export function cacheFolder(): string {
  return process.env["SVIRT_LAB_CACHE"] || join(homedir(), ".cache", "svirt-agent", "lab");
}

/** Short, because it stands in a folder's name; collisions would have to be made on purpose. */
export function hashOf(inputs: readonly string[]): string {
  const hash = createHash("sha256");
  // The length keeps ["ab", "c"] and ["a", "bc"] apart.
  for (const input of inputs) hash.update(`${input.length}:${input}`);
  return hash.digest("hex").slice(0, 16);
}

function folderOf(stage: Stage): string {
  return join(cacheFolder(), `${stage.name}-${hashOf(stage.inputs)}`);
}

/** Has this stage been built, from these very inputs? */
export function isBuilt(stage: Stage): boolean {
  return existsSync(folderOf(stage));
}

/** Folder of the stage, which is built first unless it is there. */
export async function provideStage(stage: Stage, progress: Progress): Promise<string> {
  const cache = cacheFolder();
  const folder = folderOf(stage);
  if (!existsSync(folder)) {
    // Before the lock, which it takes as well.
    const from = stage.from === undefined ? "" : await provideStage(stage.from, progress);
    mkdirSync(cache, { recursive: true });
    using _lock = await lock(
      join(cache, "lock"),
      (pid) => progress.say(`waiting for the build of process ${pid}`),
    );
    if (!existsSync(folder)) {
      // We hold the lock, so whatever is partial belongs to a build that was killed.
      for (const left of readdirSync(cache)) {
        if (left.endsWith(".partial")) await remove(join(cache, left));
      }
      mkdirSync(`${folder}.partial`);
      await stage.build(`${folder}.partial`, from);
      renameSync(`${folder}.partial`, folder);
    }
  }
  try {
    const now = new Date();
    utimesSync(folder, now, now); // prune() removes what was not used for longest
    await prune(stage);
  } catch {
    // Somebody else's cache, which we may only read: its owner prunes it.
  }
  return folder;
}

async function prune({ name, keep }: Stage): Promise<void> {
  const cache = cacheFolder();
  const folders = readdirSync(cache)
    .filter((entry) => entry.startsWith(`${name}-`) && !entry.endsWith(".partial"))
    .map((entry) => ({ path: join(cache, entry), used: statSync(join(cache, entry)).mtimeMs }))
    .sort((a, b) => b.used - a.used);
  for (const { path } of folders.slice(keep)) await remove(path);
}

/** Never leaves its own filesystem: a killed build may have left /proc or /dev mounted inside. */
async function remove(folder: string): Promise<void> {
  await hostCommand(["rm", "-rf", "--one-file-system", folder]);
}
