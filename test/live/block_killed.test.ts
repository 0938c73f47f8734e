/**
 * The agent dies by SIGKILL while a guest gets block devices: recovery leaves nothing of it.
 *
 * @module
 */

import assert from "node:assert/strict";
import { existsSync, rmSync } from "node:fs";
import { before, describe, it } from "node:test";
import type { ATTACH_STEPS } from "../../agent/attach.ts";
import type { SNAPSHOT_STEPS } from "../../agent/operation/snapshot_steps.ts";
import {
  dev1,
  disk,
  guestOn,
  IMAGES,
  NODES,
  prepareDevices,
  refused,
  requireClear,
} from "./block_world.ts";
import { command, must, svirtAgent } from "./command.ts";
import { Run } from "./world.ts";

before(prepareDevices);

describe("the agent is killed while a guest gets block devices", () => {
  // Those that leave something else of a device behind; killed.test.ts has all of them.
  const steps = ["grant", "open", "pass", "record"] satisfies typeof ATTACH_STEPS[number][];
  for (const step of steps) {
    it(`after "${step}": recovery leaves nothing of it`, async () => {
      const run = new Run("dev1", dev1, { SVIRT_TEST_DIE_AFTER: `attach:${step}` });
      assert.equal(await run.ended, 137, run.output);
      assert.equal(existsSync(NODES), step !== "grant");
      if (step === "record") {
        // The claim is QEMU's now, and the log knows who has the device.
        const mount = await command("busybox", ["mount", "-t", "ext4", disk, "/mnt"]);
        assert.match(mount.stderr, /busy/);
        await refused(await guestOn("dev2", disk), 1, /dev1 \(image data\) may write it/);
        // The lock on the host's node went with the agent: nothing is in the way of root's programs.
        const write = ["-f", "raw", "-c", "write -P 0x77 14M 512", disk];
        assert.match(await must("qemu-io", ...write), /wrote 512\/512/);
      }
      const { status, stderr } = await svirtAgent("guest", "recover", "dev1", "--stop");
      assert.equal(status, 0, stderr);
      await requireClear();
    });
  }

  for (const step of ["intent", "relabel"] satisfies typeof SNAPSHOT_STEPS[number][]) {
    it(`after "${step}" of its snapshot`, async () => {
      const env = { SVIRT_TEST_DIE_AFTER: `snapshot:${step}` };
      const run = await new Run("dev1", dev1, env).running();
      await svirtAgent("snapshot", "create", "dev1", "data", "--overlay-in", IMAGES);
      assert.equal(await run.ended, 137, run.output);
      const { status, stdout, stderr } = await svirtAgent("guest", "recover", "dev1", "--stop");
      assert.equal(status, 0, stderr);
      const overlay = /(\/srv\/\S+\.qcow2) stands on/.exec(stdout)?.[1];
      assert.equal(overlay !== undefined, step === "relabel", stdout);
      if (overlay !== undefined) rmSync(overlay);
      await requireClear();
    });
  }
});
