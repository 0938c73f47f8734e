import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Interrupt, InterruptedError } from "../../agent/command/interrupt.ts";
import { reach } from "../../agent/io/step.ts";

/** Ctrl-C, as the terminal sends it; without somebody who listens it would end the tests. */
async function pressCtrlC(interrupt: Interrupt): Promise<string> {
  process.kill(process.pid, "SIGINT");
  return await interrupt.signal;
}

describe("Ctrl-C", () => {
  it("makes an attach fail at its next step, so that it is undone", async () => {
    using interrupt = new Interrupt();
    assert.equal(await pressCtrlC(interrupt), "SIGINT");
    assert.throws(() => reach("attach", "label"), InterruptedError);
  });

  it("never cuts short what takes something away from a guest", async () => {
    using interrupt = new Interrupt();
    await pressCtrlC(interrupt);
    for (const operation of ["snapshot", "detach"]) reach(operation, "relabel");
  });

  it("means nothing to what comes after it was dealt with", async () => {
    {
      using interrupt = new Interrupt();
      await pressCtrlC(interrupt);
    }
    reach("attach", "grant");
  });
});
