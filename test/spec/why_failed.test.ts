import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { exitStatusOf } from "../../agent/command/exit_status.ts";
import { whyFailed } from "../../agent/operation/why_failed.ts";
import type { QemuProcess } from "../../agent/process/launch.ts";
import { MonitorError } from "../../agent/qmp/monitor.ts";
import { VerdictError } from "../../agent/verify/guest.ts";

/** One that ends with this, or never. */
function qemu(end: string | undefined, lastWords = ""): QemuProcess {
  const ended = end === undefined ? new Promise<string>(() => {}) : Promise.resolve(end);
  return { ended, lastWords } as unknown as QemuProcess;
}

describe("a failure while QEMU", () => {
  for (const symptom of [new MonitorError("closed"), new VerdictError("holds nothing")]) {
    it(`has died is its death, with its last words, and exit status 3: ${symptom.name}`, async () => {
      const why = await whyFailed(symptom, qemu("SIGKILL", "out of memory"));
      assert.equal(why.message, "QEMU died (SIGKILL): out of memory");
      assert.equal(why.cause, symptom);
      assert.equal(exitStatusOf(why), 3);
    });

    it(`runs on is what it says: ${symptom.name}`, async () => {
      assert.equal(await whyFailed(symptom, qemu(undefined)), symptom);
    });
  }

  it("has died, but which has to do with something else, is that", async () => {
    const error = new Error("the log cannot be written");
    assert.equal(await whyFailed(error, qemu("SIGKILL")), error);
  });
});
