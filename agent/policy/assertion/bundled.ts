import { existsSync, readdirSync } from "node:fs";
import { join, relative } from "node:path";

/** From here to the top of the project, and from `dist/` to that of the package. */
const TOPS = ["../../..", "../../../.."];
const FOLDER = "policies/assertions";

/**
 * The files of invariants that come with the program, in a stable order; relative to the working
 * directory where they are below it.
 */
export function bundledFiles(): string[] {
  const folder = TOPS.map((top) => join(import.meta.dirname, top, FOLDER)).find(existsSync);
  if (folder === undefined) throw new Error(`The program was installed without ${FOLDER}`);
  return readdirSync(folder).filter((name) => name.endsWith(".toml")).sort().map((name) => {
    const path = join(folder, name);
    const below = relative(process.cwd(), path);
    return below.startsWith("..") ? path : below;
  });
}
