import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { findCommand } from "../../agent/command/find.ts";
import { parse } from "../../agent/command/parse.ts";
import { run } from "../../agent/command/policy_query.ts";
import { compile, readCil } from "../policy/compile.ts";

const folder = mkdtempSync(join(tmpdir(), "policy-query-"));
const file = join(folder, "policy.33");
writeFileSync(file, compile([readCil("test/policy/small.cil")]));
after(() => rmSync(folder, { recursive: true }));

const guest = "system_u:system_r:guest_t:s0:c1";
const nfs = "system_u:object_r:nfs_t:s0";

/** What `policy query` prints, and its exit status. */
async function query(...typed: string[]): Promise<{ status: number; lines: string[] }> {
  const { command, rest } = findCommand(["policy", "query", "--policy", file, ...typed]);
  const lines: string[] = [];
  const terminal = { out: (line: string) => lines.push(line), err: () => {} };
  return { status: await run(parse(command, rest), terminal), lines };
}

describe("svirt-agent policy query", () => {
  it("answers each permission, and below it what says so", async () => {
    const { status, lines } = await query(guest, nfs, "file", "getattr", "open", "map");
    assert.equal(status, 0);
    assert.deepEqual(lines, [
      "getattr: allowed",
      "    allow guest_t nfs_t:file getattr; [ !(use_nfs && !no_nfs) ]",
      "open: denied, no rule allows it",
      "    use_nfs=on would allow it",
      "map: denied, no rule allows it",
    ]);
  });
  it("says what a constraint demands, in words and as the policy has it", async () => {
    const { lines } = await query(guest, "system_u:object_r:image_t:s0:c2", "file", "read");
    assert.deepEqual(lines, [
      "read: denied by a constraint",
      "    the source's high level has to include the target's high level",
      "    the source's type has to be free_t",
      "    mlsconstrain file { read write } ((h1 dom h2 -Fail-) or (t1 == free_t -Fail-))",
    ]);
  });
  it("says that a dontaudit rule hides a denial, and that a domain is permissive", async () => {
    const image = "system_u:object_r:image_t:s0:c1";
    assert.ok((await query(guest, image, "file", "execute")).lines.some((it) => /no AVC/.test(it)));
    const free = await query("system_u:system_r:free_t:s0", image, "file", "write");
    assert.equal(free.lines.at(-1), "note: free_t is permissive: nothing is denied to it");
  });
  it("asks about every permission of the class when none is named", async () => {
    const { lines } = await query(guest, nfs, "file");
    const asked = lines.filter((line) => !line.startsWith(" ")).map((line) => line.split(":")[0]);
    assert.deepEqual(asked, ["read", "write", "getattr", "open", "map", "execute"]);
  });
  it("shows the rule where it takes several booleans: that none allows it is not all", async () => {
    const { lines } = await query(guest, nfs, "file", "open", "-b", "no_nfs=on");
    assert.deepEqual(lines.slice(0, 2), [
      "open: denied, no rule allows it",
      "    with several booleans switched one would:",
    ]);
    assert.match(lines[2]!, /^ {4}allow guests nfs_t:file .*; \[ use_nfs && !no_nfs \]$/);
  });
  it("supposes values of booleans", async () => {
    const { lines } = await query(guest, nfs, "file", "open", "-b", "use_nfs=on");
    assert.equal(lines[0], "open: allowed");
    const blocked = await query(guest, nfs, "file", "open", "-b", "use_nfs=on", "-b", "no_nfs=on");
    assert.deepEqual(blocked.lines, [
      "open: denied, no rule allows it",
      "    no_nfs=off would allow it",
    ]);
  });
  it("prints a document of schema version 1 as JSON", async () => {
    const { lines } = await query(guest, nfs, "file", "open", "getattr", "--json");
    assert.deepEqual(JSON.parse(lines.join("\n")), {
      schemaVersion: 1,
      policy: file,
      source: guest,
      target: nfs,
      class: "file",
      booleans: {},
      permissive: false,
      permissions: {
        open: { answer: "denied", by: "te", boolean: ["use_nfs=on"], audited: true },
        getattr: {
          answer: "allowed",
          by: "te",
          rules: ["allow guest_t nfs_t:file getattr; [ !(use_nfs && !no_nfs) ]"],
          audited: false,
        },
      },
    });
  });
  it("says in JSON which booleans it supposes, in the words that they were given in", async () => {
    const { lines } = await query(guest, nfs, "file", "open", "--json", "-b", "no_nfs=on");
    const { booleans, permissions: { open } } = JSON.parse(lines.join("\n"));
    assert.deepEqual(booleans, { no_nfs: "on" });
    assert.match(open.conditional[0], / \[ use_nfs && !no_nfs \]$/);
  });

  for (
    const [what, typed, missing] of [
      ["type", [guest, "system_u:object_r:nsf_t:s0", "file", "open"], 'type "nsf_t"'],
      ["class", [guest, nfs, "fil", "open"], 'class "fil"'],
      ["class, of which no permission is named", [guest, nfs, "fil"], 'class "fil"'],
      ["permission", [guest, nfs, "file", "fly"], 'permission "fly" of class "file"'],
    ] as const
  ) {
    it(`could not find out, with a ${what} that the policy lacks: exit 3`, async () => {
      const { status, lines } = await query(...typed);
      assert.equal(status, 3);
      assert.match(lines[0]!, /: unknown$/);
      assert.equal(lines[1], `    the policy has no ${missing}`);
    });
  }
  for (
    const [what, typed, message] of [
      ["no context", ["guest_t", nfs, "file"], /Cannot parse context "guest_t"/],
      ["a boolean that the policy lacks", [guest, nfs, "file", "-b", "nfs=on"], /no boolean "nfs"/],
      ["a boolean without a value", [guest, nfs, "file", "-b", "use_nfs"], /no NAME=on/],
      [
        "a boolean that is on and off",
        [guest, nfs, "file", "-b", "use_nfs=on", "-b", "use_nfs=off"],
        /both on and off/,
      ],
      ["a policy that is not there", [guest, nfs, "file", "--policy", "/no/policy"], /ENOENT/],
    ] as const
  ) {
    it(`refuses ${what}`, async () => {
      await assert.rejects(() => query(...typed), { name: "UsageError", message });
    });
  }
  it("suggests booleans of a similar name", async () => {
    await assert.rejects(() => query(guest, nfs, "file", "-b", "nfs=on"), {
      hint: "Similar: no_nfs, use_nfs",
    });
  });
});
