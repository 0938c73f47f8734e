import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
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

/** Compares; with UPDATE_GOLDEN=1 writes what there is, for a person to read what has changed. */
export function equalsGolden(text: string, name: string, extension: string): void {
  const file = goldenFile(name, extension);
  if (process.env["UPDATE_GOLDEN"] !== undefined) writeFileSync(file, text);
  assert.equal(text, readFileSync(file, "utf8"));
}
