import { lstatSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { Identity } from "../owned_fd.ts";
import { type Folder, locate } from "./folder.ts";

/** Most names that are looked at: the log's lock is held meanwhile, and NFS takes its time. */
const MOST_NAMES = 2000;
/** A file that is being moved can be missed by one walk. */
const WALKS = 3;

/**
 * Where in its allowed folder a file is that is no longer at `path`: somebody moved it, and what the
 * agent did to it has to be undone all the same.
 *
 * @returns A path to be opened and checked; `undefined` when the file is nowhere among the first 2000
 * names, so that it was deleted, or moved out of the folder.
 */
export function findMoved(
  folders: readonly Folder[],
  path: string,
  identity: Identity,
): string | undefined {
  const inode = BigInt(identity.split(":")[2]!);
  const { folder } = locate(folders, path);
  for (let walk = 0; walk < WALKS; walk++) {
    let left = MOST_NAMES;
    const pending = [folder.path];
    for (let at = pending.shift(); at !== undefined; at = pending.shift()) {
      for (const entry of namesIn(at)) {
        if (--left < 0) return undefined;
        const name = join(at, entry.name);
        if (entry.isDirectory()) pending.push(name);
        else if (entry.isFile() && inodeOf(name) === inode) return name;
      }
    }
  }
  return undefined;
}

function namesIn(folder: string) {
  return orGone(() => readdirSync(folder, { withFileTypes: true })) ?? [];
}

/** The device is for whoever opens it to compare. */
function inodeOf(path: string): bigint | undefined {
  return orGone(() => lstatSync(path, { bigint: true }).ino);
}

function orGone<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    if (["ENOENT", "ENOTDIR", "EACCES"].includes((error as { code?: string }).code ?? "")) {
      return undefined;
    }
    throw error;
  }
}
