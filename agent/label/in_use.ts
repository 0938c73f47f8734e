import { readdirSync } from "node:fs";
import { join } from "node:path";
import { type ContextOut, libselinux } from "../../ffi/libselinux.ts";
import type { State } from "../audit/state.ts";
import { processContexts } from "../process/contexts.ts";
import { parseContext } from "./context.ts";

/** Most files whose labels are looked at; a folder of images holds far fewer. */
const MOST_FILES = 20_000;

/**
 * Every level that a guest must not get: those of all processes, of all files beneath the image
 * folders, and those the log has reserved for guests of ours.
 */
export function levelsInUse(state: State, folders: readonly { readonly path: string }[]): string[] {
  const contexts = [
    ...processContexts().map(({ context }) => context),
    ...folders.flatMap(({ path }) => labelsBeneath(path)),
  ];
  const levels = contexts.flatMap((text) => {
    try {
      return parseContext(text).level ?? [];
    } catch {
      // "kernel", "unlabeled": not of the form user:role:type.
      return [];
    }
  });
  return [...levels, ...state.levels.values()];
}

function labelsBeneath(folder: string): string[] {
  const labels: string[] = [];
  const pending = [folder];
  for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
    for (const entry of readdirSync(path, { withFileTypes: true })) {
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
