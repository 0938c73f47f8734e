import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { describe, it } from "node:test";

/** The project, also when this file is run from `dist/`. */
const ROOT = import.meta.dirname.replace(/(\/dist)?\/test\/spec$/, "");

/** What each file imports of ours, at once or when it is needed; paths relative to the project. */
const IMPORTS: ReadonlyMap<string, readonly string[]> = new Map(
  globSync(["agent/**/*.ts", "ffi/**/*.ts"], { cwd: ROOT }).map((file) => {
    const text = readFileSync(join(ROOT, file), "utf8");
    const found = [...text.matchAll(/\bfrom "(\.[^"]+)"|\bimport\("(\.[^"]+)"\)/g)];
    const from = dirname(join(ROOT, file));
    return [file, found.map(([, a, b]) => relative(ROOT, resolve(from, a ?? b!)))] as const;
  }),
);

/** Files that import each other in a ring, the first one at both ends. */
function findRing(): string[] | undefined {
  const done = new Set<string>();
  const path: string[] = [];
  const visit = (file: string): string[] | undefined => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file];
    if (done.has(file)) return undefined;
    path.push(file);
    for (const next of IMPORTS.get(file) ?? []) {
      const ring = visit(next);
      if (ring !== undefined) return ring;
    }
    path.pop();
    done.add(file);
    return undefined;
  };
  for (const file of IMPORTS.keys()) {
    const ring = visit(file);
    if (ring !== undefined) return ring;
  }
  return undefined;
}

function importersOf(what: RegExp, others: RegExp): string[] {
  return [...IMPORTS].filter(([file, imports]) =>
    !others.test(file) && imports.some((it) => what.test(it))
  ).map(([file]) => file);
}

describe("the files of the agent", () => {
  it("are all read here", () => {
    assert.ok(IMPORTS.size > 150);
    assert.ok(IMPORTS.get("agent/attach.ts")!.length > 5);
  });
  it("do not import each other in a ring", () => {
    assert.equal(findRing()?.join(" > "), undefined);
  });
  it("do not import commands, which come last", () => {
    assert.deepEqual(importersOf(/^agent\/command\//, /^agent\/(command\/|main\.ts$)/), []);
  });
  it("do not import what watches and serves guests, which stands just before", () => {
    const others = /^agent\/(command|service)\//;
    assert.deepEqual(importersOf(/^agent\/service\//, others), []);
  });
  it("are not imported by ffi, which declares C libraries and decides nothing", () => {
    assert.deepEqual(importersOf(/^agent\//, /^agent\//), []);
  });
});
