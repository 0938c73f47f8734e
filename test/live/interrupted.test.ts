/**
 * A signal that ends programs comes while a guest is being attached: what was done is undone.
 *
 * @module
 */

import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { ATTACH_STEPS } from "../../agent/attach.ts";
import { leftAlone } from "./left_alone.ts";
import { type GuestFile, makeBase, makeGuest, prepareHost, Run } from "./world.ts";

let web1: GuestFile;

before(async () => {
  await prepareHost();
  makeBase("ext4");
  web1 = await makeGuest("web1", "ext4");
});

describe("a signal during an attach", () => {
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const [i, step] of ATTACH_STEPS.entries()) {
    const signal = signals[i % 3]!;
    it(`${signal} after "${step}" undoes it`, async () => {
      const before = await leftAlone(web1);
      const env = { SVIRT_TEST_DIE_AFTER: `attach:${step}`, SVIRT_TEST_SIGNAL: signal };
      const run = new Run("web1", web1.file, env);
      const status = await run.ended;
      // Once it is attached the guest runs, and is stopped in order.
      const isAttached = run.output.includes("web1: attach: record");
      assert.equal(status, isAttached ? 0 : 130, run.output);
      if (!isAttached) assert.match(run.output, new RegExp(`interrupted by ${signal}; .* undone`));
      // From the graph on nothing waits for QEMU: a signal may be heard only when all is done.
      const mayEnd = ["graph", "verify", "record"].includes(step);
      assert.ok(!isAttached || mayEnd, "heard at the next step that waits");
      assert.deepEqual(await leftAlone(web1), before, "nothing is left of it");
    });
  }
});
