import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Interrupt, InterruptedError } from "../../agent/command/interrupt.ts";
import { reach } from "../../agent/io/step.ts";

/** SIGHUP stands for all of them: deno test hears SIGINT itself. Unheard, it ends the tests. */
async function hangUp(interrupt: Interrupt): Promise<string> {
  // Waiting for a signal keeps no runtime alive.
  const alive = setTimeout(() => {}, 10_000);
  try {
    process.kill(process.pid, "SIGHUP");
    return await interrupt.signal;
  } finally {
    clearTimeout(alive);
  }
}

describe("a signal that ends a program", () => {
  it("makes an attach fail at its next step, so that it is undone", async () => {
    using interrupt = new Interrupt();
    assert.equal(await hangUp(interrupt), "SIGHUP");
    assert.throws(() => reach("attach", "label"), InterruptedError);
  });

  it("never cuts short what takes something away from a guest", async () => {
    using interrupt = new Interrupt();
    await hangUp(interrupt);
    for (const operation of ["snapshot", "detach"]) reach(operation, "relabel");
  });

  it("means nothing to what comes after it was dealt with", async () => {
    {
      using interrupt = new Interrupt();
      await hangUp(interrupt);
    }
    reach("attach", "grant");
  });
});
