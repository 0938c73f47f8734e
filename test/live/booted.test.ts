/**
 * A guest with a real kernel, as far as a shell that writes to its disk: boot sector, kernel and
 * initrd lie on the one disk that it was handed, so that QEMU opens no file for it.
 *
 * @module
 */

import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { BOOTED, bootGuest, shellWrote, writtenByShell } from "./booted_guest.ts";
import { must, svirtAgent } from "./command.ts";
import { prepareHost, type Run } from "./world.ts";

/** A processor that is emulated by an emulated one needs minutes. */
const LIMIT_MS = 1_200_000;

describe("a guest that boots from its disk", () => {
  let run: Run;
  before(async () => {
    await prepareHost();
    run = await bootGuest();
    assert.equal(writtenByShell(), false, "nothing is written there before");
  });

  it("comes as far as a shell, which writes to its disk", { timeout: LIMIT_MS }, async () => {
    await shellWrote(run);
    assert.equal(writtenByShell(), true, "the host's disk holds it");
  });

  it("opens nothing for it, and gives its disk back", async () => {
    const { status, stdout } = await svirtAgent("verify", BOOTED.name);
    assert.equal(status, 0, stdout);
    assert.equal(await run.stop(), 0, run.output);
    const label = await must("stat", "-c", "%u %C", BOOTED.disk);
    assert.equal(label.trim(), "0 system_u:object_r:virt_image_t:s0");
  });
});
