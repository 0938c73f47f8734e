/** Who can get at whose images, of the guests that run on this host. */

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { command, must } from "./command.ts";
import { makeBase, makeGuest, prepareHost, Run } from "./world.ts";

const MAIN = new URL("../../agent/main.js", import.meta.url).pathname;

/** As an administrator: the kernel's policy is read. */
const matrix = async (...rest: string[]) => {
  const { status, stdout, stderr } = await command(process.execPath, [
    MAIN,
    "policy",
    "matrix",
    "--json",
    ...rest,
  ]);
  assert.notEqual(stdout, "", stderr);
  return { status, ...JSON.parse(stdout) };
};

const runs: Run[] = [];

before(async () => {
  await prepareHost();
  makeBase("ext4");
  makeBase("nfs42");
  for (const [name, storage] of [["web1", "ext4"], ["web2", "nfs42"]] as const) {
    const { file } = await makeGuest(name, storage);
    runs.push(await new Run(name, file).running());
  }
});
after(async () => {
  for (const run of runs) assert.equal(await run.stop(), 0, run.output);
});

describe("svirt-agent policy matrix, of what runs", () => {
  it("finds two guests and their images, and no access from one to the other's", async () => {
    const found = await matrix("--all");
    assert.equal(found.guests, 2);
    const names = found.groups.flatMap(({ images }: { images: { name: string }[] }) =>
      images.map(({ name }) => name)
    );
    assert.ok(names.some((name: string) => name.startsWith("/srv/ext4/")), String(names));
    assert.ok(names.some((name: string) => name.startsWith("/srv/nfs42/")), String(names));
    assert.equal(found.crossGuestAccesses, 0, JSON.stringify(found.groups, null, 2));
    assert.equal(found.status, 0);
  });
  it("finds that each may open the other's on NFS once virt_use_nfs is on", async () => {
    await must("setsebool", "virt_use_nfs", "on");
    const found = await matrix();
    await must("setsebool", "virt_use_nfs", "off");
    assert.equal(found.status, 1);
    const [worst] = found.groups;
    assert.equal(worst.kind, "cross-guest");
    assert.match(worst.target, /:nfs_t:s0$/);
    assert.ok(worst.rules.some((rule: string) => rule.includes("[ virt_use_nfs ]")));
  });
});
