import { fileURLToPath } from "node:url";

/** Which of the three runs this program. */
export type Runtime = "node" | "deno" | "bun";

/** The runtime and its version, as `node 24.9.0`. */
export function runtime(): { name: Runtime; version: string } {
  const { deno, bun, node = "" } = process.versions as Record<string, string | undefined>;
  if (deno !== undefined) return { name: "deno", version: deno };
  if (bun !== undefined) return { name: "bun", version: bun };
  return { name: "node", version: node };
}

/**
 * The command line that runs another file of ours in the same runtime.
 *
 * @param from `import.meta.url` of the caller.
 * @param name Of the file beside it, without its ending: `.ts` here, `.js` in dist/.
 */
export function commandFor(
  from: string,
  name: string,
  ...args: string[]
): [command: string, ...args: string[]] {
  const file = fileURLToPath(new URL(`./${name}.${from.endsWith(".ts") ? "ts" : "js"}`, from));
  // FFI voids Deno's other permissions anyway; --no-prompt: nobody is there to answer.
  const flags = runtime().name === "deno" ? ["run", "--allow-all", "--no-prompt"] : [];
  return [process.execPath, ...flags, file, ...args];
}
