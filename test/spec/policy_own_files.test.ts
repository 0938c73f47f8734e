import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { findLeftLabels, findWrongLabels } from "../../agent/policy/module/own_files.ts";

describe("the agent's own files", () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "svirt-agent-labels-"));
    mkdirSync(join(folder, "log/deep"), { recursive: true });
    for (const name of ["log/a", "log/deep/b", "agent", "agent-x", "other"]) {
      writeFileSync(join(folder, name), "");
    }
  });
  after(() => rmSync(folder, { recursive: true }));

  const contexts = () => [
    { expression: `${folder}/agent.*`, kind: "file", type: "exec_t" } as const,
    { expression: `${folder}/log(/.*)?`, kind: "any", type: "log_t" } as const,
    { expression: `${folder}/gone(/.*)?`, kind: "any", type: "log_t" } as const,
  ];
  const names = (labels: readonly { readonly path: string }[]) =>
    labels.map(({ path }) => path.slice(folder.length + 1)).sort();

  it("are found with another type than the modules', trees as deep as they go", () => {
    const wrong = findWrongLabels(contexts(), [], () => "bin_t");
    assert.deepEqual(names(wrong), [
      "agent",
      "agent-x",
      "log",
      "log/a",
      "log/deep",
      "log/deep/b",
    ]);
  });

  it("are left alone where their type is right, or nothing keeps labels", () => {
    const right = (path: string) => path.includes("/log") ? "log_t" : undefined;
    assert.deepEqual(findWrongLabels(contexts(), [], right), []);
  });

  it("are left alone where an administrator says otherwise", () => {
    const local = [{ expression: `${folder}/agent`, type: "bin_t" }];
    const wrong = findWrongLabels(contexts(), local, () => "bin_t");
    assert(!names(wrong).includes("agent"));
    assert(names(wrong).includes("agent-x"));
  });

  it("are found when the modules go: theirs, and what no policy has any longer", () => {
    const types = new Map([["agent", "exec_t"], ["log", "unlabeled_t"], ["log/a", "log_t"]]);
    const typeOf = (path: string) => types.get(path.slice(folder.length + 1)) ?? "bin_t";
    assert.deepEqual(names(findLeftLabels(contexts(), ["exec_t"], typeOf)), ["agent", "log"]);
  });
});
