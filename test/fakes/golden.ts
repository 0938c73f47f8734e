import { join } from "node:path";

/** What a test's outcome is compared with; the same file for the tests that tsc compiled to dist/. */
export function goldenFile(name: string): string {
  const folder = join(
    import.meta.dirname,
    import.meta.url.endsWith(".ts") ? ".." : "../../../test",
  );
  return join(folder, "golden", `${name}.json`);
}
