/**
 * Snapshots as somebody uses them: several images at once, one on another, and the guest started
 * again afterwards with its data.
 *
 * @module
 */

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import type { FrozenImage } from "../../agent/operation/freeze.ts";
import { must, svirtAgent } from "./command.ts";
import { putOnTop } from "./next_chain.ts";
import { type GuestFile, makeBase, makeGuest, prepareHost, requireBytes, Run } from "./world.ts";

let guest: GuestFile;
let run: Run;

async function snapshot(...images: string[]): Promise<FrozenImage[]> {
  const { status, stdout, stderr } = await svirtAgent(
    "snapshot",
    "create",
    guest.name,
    ...images,
    "--json",
  );
  assert.equal(status, 0, stderr);
  return JSON.parse(stdout).images;
}

async function io(image: string, text: string): Promise<void> {
  const said = await run.io(image, text);
  assert.doesNotMatch(said, /fail|error|denied/i);
}

describe("snapshot create on ext4", () => {
  let first: FrozenImage[];
  let second: FrozenImage[];

  before(async () => {
    await prepareHost();
    makeBase("ext4");
    guest = await makeGuest("web1", "ext4");
    run = await new Run("web1", guest.file).running();
    await io("root", "write -P 0x11 0 64k");
    await io("data", "write -P 0x12 0 64k");
  });

  after(() => run.process.kill("SIGKILL"));

  it("refuses an image that the guest does not have, with 1, and takes none", async () => {
    const { status, stderr } = await svirtAgent("snapshot", "create", "web1", "root", "nope");
    assert.equal(status, 1);
    assert.match(stderr, /no image "nope"/);
    assert.match(stderr, /hint: It can write: root, data/);
  });

  it("freezes all images that can be written, and each cannot be afterwards", async () => {
    first = await snapshot();
    assert.deepEqual(first.map(({ image, grade }) => [image, grade]), [
      ["root", "enforced (label)"],
      ["data", "enforced (label)"],
    ]);
    for (const { verdict } of first) {
      assert.deepEqual(verdict?.verdict.write, { answer: "denied", by: "te" });
      assert.deepEqual(verdict?.witnesses.holds, ["ro"]);
    }
  });

  it("freezes an overlay in its turn", async () => {
    await io("root", "write -P 0x21 64k 64k");
    second = await snapshot("root");
    assert.equal(second[0]!.path, first[0]!.overlay);
    assert.equal(second[0]!.grade, "enforced (label)");
  });

  it("leaves the guest every byte it wrote, and writing", async () => {
    await io("root", "write -P 0x31 128k 64k");
    const written = ["0x31 128k 64k", "0x11 0 64k", "0x21 64k 64k", "0xba 8M 64k"];
    await requireBytes(run, "root", second[0]!.overlay, ...written);
    await requireBytes(run, "data", first[1]!.overlay, "0x12 0 64k");
  });

  it("puts the real name of the backing file into each header", async () => {
    const info = JSON.parse(
      await must("qemu-img", "info", "-U", "--output=json", second[0]!.overlay),
    );
    assert.equal(info["full-backing-filename"], second[0]!.path);
    assert.equal(info["backing-filename-format"], "qcow2");
  });

  it("gives everything its own label and owner back when the guest is stopped", async () => {
    assert.equal(await run.stop(), 0, run.output);
    const files = [guest.root, guest.data, ...[...first, ...second].map(({ overlay }) => overlay)];
    for (const path of files) {
      const label = await must("stat", "-c", "%u %C", path);
      assert.equal(label.trim(), "0 system_u:object_r:virt_image_t:s0", path);
    }
  });

  it("keeps run from writing a frozen image again, and names the overlay", async () => {
    const { status, stderr } = await svirtAgent("run", guest.file);
    assert.equal(status, 1, stderr);
    assert.match(stderr, /was frozen by a snapshot/);
    assert.ok(stderr.includes(first[0]!.overlay));
  });

  it("lets the guest start again on the new chain, with its data", async () => {
    const [root, data] = first as [FrozenImage, FrozenImage];
    putOnTop(guest, { root: [second[0]!.overlay, root.overlay], data: [data.overlay] });
    run = await new Run("web1", guest.file).running();
    await requireBytes(run, "root", second[0]!.overlay, "0x31 128k 64k", "0x11 0 64k");
    await requireBytes(run, "data", data.overlay, "0x12 0 64k");
    assert.equal(await run.stop(), 0, run.output);
  });
});

describe("a snapshot that fails before QEMU has switched over", () => {
  it("leaves no overlay, and the guest writes on", async () => {
    guest = await makeGuest("web2", "ext4");
    run = await new Run("web2", guest.file).running();
    // The node's name is taken: QEMU refuses the overlay after its file was made and passed.
    const next = 4;
    await run.call("Qmp", {
      execute: "blockdev-add",
      arguments: { driver: "null-co", "node-name": `root.s${next}`, "read-zeroes": true },
    });
    const { status, stderr } = await svirtAgent("snapshot", "create", "web2", "root");
    assert.notEqual(status, 0, stderr);
    const left = await must("sh", "-c", `ls /srv/ext4 | grep -c 'web2.2' || true`);
    assert.equal(left.trim(), "0", "no overlay is left");
    await io("root", "write -P 0x41 0 64k");
    const { status: asBefore, stdout } = await svirtAgent("verify", "web2");
    assert.equal(asBefore, 0, stdout);
    assert.equal(await run.stop(), 0, run.output);
    assert.ok(existsSync(guest.root));
  });
});
