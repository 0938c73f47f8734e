import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { goldenFile } from "../fakes/golden.ts";
import { typed } from "../fakes/typed_command.ts";
import { compile, MODULES, readCil } from "../policy/compile.ts";

const folder = mkdtempSync(join(tmpdir(), "policy-matrix-"));
const policy = join(folder, "policy");
writeFileSync(policy, compile(["test/policy/fedora.cil", ...MODULES].map(readCil)));
const hosts = join(folder, "hosts");
writeFileSync(
  hosts,
  `
guest system_u:system_r:svirt_t:s0:c1,c2 web
guest system_u:system_r:svirt_t:s0:c3,c4 db
image system_u:object_r:svirt_image_t:s0:c1,c2 /srv/web.qcow2   # libvirt's
image system_u:object_r:svirt_fd_image_t:s0:c3,c4 /srv/db.qcow2 # the agent's
image system_u:object_r:virt_content_t:s0 /srv/base.qcow2
image system_u:object_r:nfs_t:s0 /net/old.qcow2
`,
);
after(() => rmSync(folder, { recursive: true }));

const golden = JSON.parse(readFileSync(goldenFile("policy_matrix"), "utf8"));
const matrix = (...rest: string[]) => typed("policy", "matrix", "--policy", policy, ...rest);
const web = "system_u:system_r:svirt_t:s0:c1,c2";

describe("svirt-agent policy matrix", () => {
  it("prints what is remarkable, with the rules behind it, and the sum", async () => {
    const { status, lines } = await matrix("--contexts", hosts);
    assert.deepEqual(lines, golden.text);
    assert.equal(status, 1);
  });
  it("prints a document of schema version 1 as JSON, here of everything", async () => {
    const { status, lines } = await matrix("--contexts", hosts, "--all", "--json");
    assert.deepEqual({ ...JSON.parse(lines.join("\n")), policy: "POLICY" }, golden.json);
    assert.equal(status, 1);
  });
  it("is content with images that guests can only use as they were handed them", async () => {
    const image = "system_u:object_r:svirt_fd_image_t:s0:c1,c2";
    const { status, lines } = await matrix("--guest", web, "--image", image);
    assert.deepEqual(lines, [
      "1 guest x 1 image x 3 permissions: 1 distinct question, 0 cross-guest accesses",
    ]);
    assert.equal(status, 0);
  });
  it("supposes values of booleans", async () => {
    const nfs = ["--guest", web, "--image", "system_u:object_r:nfs_t:s0"];
    assert.equal((await matrix(...nfs)).status, 0);
    const { status, lines } = await matrix(...nfs, "-b", "virt_use_nfs=on");
    assert.equal(status, 1);
    assert.equal(lines[0], "CROSS-GUEST: svirt_t on nobody's nfs_t:file: open read write");
  });
  it("cannot tell what holds for a type or a permission that the policy does not have", async () => {
    const list = join(folder, "unknown");
    writeFileSync(list, `guest ${web} web\ndevice system_u:object_r:svirt_fd_image_t:s0 disk\n`);
    const lost = "system_u:object_r:lost_t:s0";
    const more = ["--image", lost, "--permissions", "read,fly"];
    const { status, lines } = await matrix("--contexts", list, ...more);
    assert.equal(status, 3);
    assert.deepEqual(lines.slice(0, -1), [
      "unknown: svirt_t on nobody's svirt_fd_image_t:blk_file: the policy has no permission " +
      '"fly" of class "blk_file"',
      "    1 pair: web (s0:c1,c2) on disk (s0)",
      ...lines.slice(2, -2),
      'unknown: the policy has no type "lost_t", of system_u:object_r:lost_t:s0',
    ]);
  });
  it("finds guests that have the same categories", async () => {
    const image = "system_u:object_r:svirt_fd_image_t:s0:c1,c2";
    const { status, lines } = await matrix("--guest", web, "--guest", web, "--image", image);
    assert.equal(status, 1);
    assert.equal(lines[0], `CROSS-GUEST: nothing separates ${web}, ${web}: all have s0:c1,c2`);
    assert.match(lines.at(-1)!, /, 0 cross-guest accesses, 1 level of several guests$/);
  });
  for (
    const [arguments_, message] of [
      [["--guest", web], /No image is named/],
      [["--image", "system_u:object_r:nfs_t:s0"], /No guest is named/],
      [["--guest", "svirt_t", "--image", web], /--guest: Cannot parse context "svirt_t"/],
      [["--guest", web, "--image", web, "--permissions", "read,"], /"" is no name of a permission/],
      [["--contexts", "/nowhere/hosts"], /--contexts: ENOENT/],
    ] as const
  ) {
    it(`refuses ${arguments_.join(" ")}`, async () => {
      await assert.rejects(matrix(...arguments_), { name: "UsageError", message });
    });
  }
});
