import { join } from "node:path";

/**
 * What a test's outcome is compared with; the same file for the tests that tsc compiled to dist/.
 *
 * @param extension `json`, unless the outcome is another kind of text.
 */
export function goldenFile(name: string, extension = "json"): string {
  const folder = join(
    import.meta.dirname,
    import.meta.url.endsWith(".ts") ? ".." : "../../../test",
  );
  return join(folder, "golden", `${name}.${extension}`);
}
