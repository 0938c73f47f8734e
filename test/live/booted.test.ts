/**
 * A guest with a real kernel, as far as a shell that writes to its disk: GRUB, kernel and initrd lie
 * on the one disk that it was handed, so that QEMU opens no file for it.
 *
 * @module
 */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { before, describe, it } from "node:test";
import { must, svirtAgent } from "./command.ts";
import { prepareHost, Run, STORAGE, writeGuest } from "./world.ts";

/** What the guest's shell writes, again and again, to sector 63488. test/lab/guest/booted_init */
const PATTERN = "SVIRT-AGENT-BOOTED\n";
const OFFSET = 63488 * 512;
const LENGTH = 8 * 512;

const DISK = `${STORAGE.ext4}/booted.raw`;

/** A processor that is emulated by an emulated one needs 5 minutes of its time. */
const LIMIT_MS = 1_200_000;

function written(): string {
  return readFileSync(DISK).subarray(OFFSET, OFFSET + LENGTH).toString("latin1");
}

describe("a guest that boots from its disk", () => {
  let run: Run;
  before(async () => {
    await prepareHost();
    await must("cp", "--sparse=always", "/usr/share/svirt-lab/booted.raw", DISK);
    const file = await writeGuest("booted", [{ name: "root", path: DISK, format: "raw" }], [
      ...["-machine", "q35", "-m", "256", "-display", "none"],
      ...["-chardev", "ringbuf,id=console,size=65536", "-serial", "chardev:console"],
    ]);
    assert.equal(written(), "\0".repeat(LENGTH), "nothing is written there before");
    run = await new Run("booted", file).running();
  });

  it("comes as far as a shell, which writes to its disk", { timeout: LIMIT_MS }, async () => {
    const wrote = /shell of pid \d+ wrote to [^\r\n]+/;
    let seen = "";
    while (!wrote.test(seen)) {
      await new Promise((resolve) => setTimeout(resolve, 1000));
      const { said } = await run.call("Qmp", {
        execute: "ringbuf-read",
        arguments: { device: "console", size: 65536 },
      });
      seen += String(said);
      assert.doesNotMatch(seen, /Kernel panic|error: /, seen);
    }
    assert.equal(written(), PATTERN.repeat(LENGTH).slice(0, LENGTH), "the host's disk holds it");
  });

  it("opens nothing for it, and gives its disk back", async () => {
    const { status, stdout } = await svirtAgent("verify", "booted");
    assert.equal(status, 0, stdout);
    assert.equal(await run.stop(), 0, run.output);
    const label = await must("stat", "-c", "%u %C", DISK);
    assert.equal(label.trim(), "0 system_u:object_r:virt_image_t:s0");
  });
});
