import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Turns } from "../../agent/operation/turns.ts";
import { RefusedError } from "../../agent/refused_error.ts";

describe("operations on one guest", () => {
  it("run one after the other, also behind one that failed", async () => {
    const turns = new Turns();
    const did: string[] = [];
    const first = turns.take(async () => {
      await new Promise((resolve) => setTimeout(resolve, 10));
      did.push("first");
      throw new Error("QEMU said no");
    });
    const second = turns.take(() => Promise.resolve(did.push("second")));
    await assert.rejects(first, /QEMU said no/);
    await second;
    assert.deepEqual(did, ["first", "second"]);
  });

  it("have all ended when the guest's end goes on, and none begins after it", async () => {
    const turns = new Turns();
    const did: string[] = [];
    const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
    const under = turns.take(async () => {
      begin();
      await new Promise((resolve) => setTimeout(resolve, 10));
      did.push("snapshot");
    });
    const waiting = turns.take(() => Promise.resolve(did.push("verify")));
    waiting.catch(() => {});
    await begun;
    await turns.close();
    did.push("given back");
    await under;
    await assert.rejects(waiting, RefusedError);
    await assert.rejects(turns.take(() => Promise.resolve()), /is being stopped/);
    assert.deepEqual(did, ["snapshot", "given back"]);
  });
});
