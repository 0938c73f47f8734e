import { join } from "node:path";
import { hostCommand } from "./host_command.ts";
import { PROJECT } from "./project.ts";

/**
 * Compiles the working tree to what an installed package runs, and its tests with it.
 *
 * @param folder Takes `agent/`, `ffi/` and `test/`; created. In the working tree its modules find
 * the project's `node_modules` and are ES modules, elsewhere somebody has to see to that.
 */
export async function compileTo(folder: string): Promise<void> {
  const tsc = join(PROJECT, "node_modules/.bin/tsc");
  const options = ["--noEmit", "false", "--declaration", "false", "--outDir", folder];
  // Errors are the type check's business; what can be emitted is.
  await hostCommand([tsc, ...options], { cwd: PROJECT }).catch(() => {});
}
