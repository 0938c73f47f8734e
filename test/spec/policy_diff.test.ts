import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { goldenFile } from "../fakes/golden.ts";
import { typed } from "../fakes/typed_command.ts";
import { compile, MODULES, readCil } from "../policy/compile.ts";

const folder = mkdtempSync(join(tmpdir(), "policy-diff-"));
after(() => rmSync(folder, { recursive: true }));

const BASE = ["test/policy/fedora.cil", ...MODULES].map(readCil);
const policy = (name: string, ...more: string[]) => {
  const file = join(folder, name);
  writeFileSync(file, compile([...BASE, ...more.map(readCil)]));
  return file;
};
const OLD = policy("old");
/** As a distribution's policy was for some months of 2025. */
const NEW = policy("new", "test/policy/virt_image_writable.cil");
const golden = JSON.parse(readFileSync(goldenFile("policy_diff"), "utf8"));
const named = (text: string) =>
  text.replaceAll(folder, "").replaceAll(/"[^"]*(policies\/assertions)/g, '"$1')
    .replaceAll(/\([^(]*(policies\/assertions)/g, "($1");

const own = join(folder, "own.toml");
writeFileSync(
  own,
  `
[[assertion]]
id = "images"
desc = "No guest writes what is nobody's"
source = "virt_domain"
target = "virt_image_t"
relation = "no-categories"
class = "file"
never = ["write"]

[[assertion]]
id = "content"
desc = "Guests read content"
source = "virt_domain"
target = "virt_content_t"
class = "file"
allow = ["read"]
`,
);

describe("svirt-agent policy diff", () => {
  it("says which of the invariants does not hold any more, and the rule behind it", async () => {
    const { status, lines } = await typed("policy", "diff", OLD, NEW);
    assert.deepEqual(lines.map(named), golden.invariants);
    assert.ok(lines.some((line) => /^LOOSER .*holds -> broken/.test(line)), lines.join("\n"));
    assert.equal(status, 1);
  });
  it("says of files of one's own what changed, and nothing of what did not", async () => {
    const { status, lines } = await typed("policy", "diff", OLD, NEW, own);
    assert.equal(status, 1);
    assert.deepEqual(lines.map(named), golden.own);
  });
  it("calls it tighter the other way round", async () => {
    const { lines } = await typed("policy", "diff", NEW, OLD, own);
    assert.match(lines[0]!, /^TIGHTER images: broken -> holds/);
  });
  it("finds it also among all that guests may do, where no assertion is needed", async () => {
    const { lines } = await typed("policy", "diff", OLD, NEW, own, "--all");
    assert.deepEqual(lines.map(named), golden.all);
  });
  it("prints a document of schema version 1 as JSON", async () => {
    const { status, lines } = await typed("policy", "diff", OLD, NEW, own, "--all", "--json");
    assert.deepEqual(JSON.parse(named(lines.join("\n"))), golden.json);
    assert.equal(status, 1);
  });
  it("ends with 0 when nothing changed", async () => {
    const { status, lines } = await typed("policy", "diff", OLD, policy("copy"), own, "--all");
    assert.deepEqual(lines.map(named), ["/old -> /copy: nothing changed"]);
    assert.equal(status, 0);
  });
  it("ends with 3 when nothing changed that it could find out, and not everything could be", async () => {
    const file = join(folder, "unknown.toml");
    writeFileSync(file, readFileSync(own, "utf8").replaceAll("virt_content_t", "nobody_t"));
    const { status, lines } = await typed("policy", "diff", OLD, OLD, file);
    assert.equal(status, 3);
    assert.deepEqual(lines.map(named), [
      "unknown: content; why says: svirt-agent policy test --policy FILE",
      "/old -> /old: nothing changed that could be found out",
    ]);
  });
  for (
    const [what, path, code] of [
      ["is not there", "/nowhere/policy", "ENOENT"],
      ["is below a file", `${goldenFile("policy_diff")}/policy`, "ENOTDIR"],
    ] as const
  ) {
    it(`refuses a policy that ${what}`, async () => {
      await assert.rejects(typed("policy", "diff", OLD, path), {
        name: "UsageError",
        message: new RegExp(`^"${path}": ${code}`),
      });
    });
  }
});
