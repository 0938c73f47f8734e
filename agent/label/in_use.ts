import { type Dirent, readdirSync } from "node:fs";
import { join } from "node:path";
import { type ContextOut, libselinux } from "../../ffi/libselinux.ts";
import { processContexts } from "../process/contexts.ts";
import { parseContext } from "./context.ts";

/** Most files whose labels are looked at; a folder of images holds far fewer. */
const MOST_FILES = 20_000;

/**
 * Every level that a guest must not get: those of all processes and of all files beneath the image
 * folders. What the log has reserved comes on top. Slow on large folders: not under the log's lock.
 */
export function levelsInUse(folders: readonly { readonly path: string }[]): string[] {
  const contexts = [
    ...processContexts().map(({ context }) => context),
    // What lies in /dev has no guest's categories but our nodes, whose levels the log has.
    ...folders.filter(({ path }) => !`${path}/`.startsWith("/dev/"))
      .flatMap(({ path }) => labelsBeneath(path)),
  ];
  return contexts.flatMap((text) => {
    try {
      return parseContext(text).level ?? [];
    } catch {
      // "kernel", "unlabeled": not of the form user:role:type.
      return [];
    }
  });
}

/** A folder that is gone meanwhile, or closed to the agent (lost+found), holds no image of a guest. */
function entriesOf(path: string): Dirent[] {
  try {
    return readdirSync(path, { withFileTypes: true });
  } catch (error) {
    if (["ENOENT", "ENOTDIR", "EACCES"].includes((error as { code?: string }).code ?? "")) {
      return [];
    }
    throw error;
  }
}

function labelsBeneath(folder: string): string[] {
  const labels: string[] = [];
  const pending = [folder];
  for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
    for (const entry of entriesOf(path)) {
      const name = join(path, entry.name);
      if (entry.isDirectory()) pending.push(name);
      const con: ContextOut = [null];
      if (libselinux().lgetfilecon_raw(name, con) > 0) labels.push(con[0]!);
      if (labels.length > MOST_FILES) {
        throw new RangeError(
          `Cannot look for categories in use: over ${MOST_FILES} files in ${folder}`,
        );
      }
    }
  }
  return labels;
}
