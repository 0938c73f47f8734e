import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { describe, it } from "node:test";
import type { IntentEvent } from "../../agent/audit/event.ts";
import { recover } from "../../agent/operation/recover.ts";
import { settleCanary } from "../../agent/operation/settle_canary.ts";
import { selinuxStatus } from "../../agent/label/status.ts";
import { FakeHost } from "../fakes/host.ts";

const DEAD = { pid: 2 ** 22 - 1, startTime: 1 };

/** A canary of web1 that has come as far as its files; those not made are named all the same. */
function canary(host: FakeHost, ...made: string[]): string[] {
  const paths = made.map((name) => host.file(name));
  const undo: IntentEvent["undo"] = [...paths, `${host.folder}/not-made`].map((path) =>
    ({ kind: "unlink", path, identity: null }) as const
  );
  host.log.append({
    event: "intent",
    operation: "canary",
    id: "c1",
    guest: "web1",
    agent: DEAD,
    undo,
    plan: [],
  });
  return paths;
}

function lastOutcome({ log }: FakeHost): { result?: string; error?: { message: string } } {
  return readFileSync(log.path, "utf8").trim().split("\n").map((line) => JSON.parse(line))
    .findLast(({ event }) => event === "outcome");
}

describe("what a canary leaves", () => {
  it("is removed by its names in the log, made or not, and the intent is closed", async () => {
    using host = new FakeHost();
    const [path] = canary(host, "canary");
    assert.deepEqual(await settleCanary("web1", host), [`removed ${path}`]);
    assert.ok(!existsSync(path!));
    assert.equal(host.log.state.intents.size, 0);
    assert.equal(lastOutcome(host).result, "done");
  });

  it("is removed by recovery when its agent is gone", async () => {
    using host = new FakeHost();
    const [path] = canary(host, "canary", "canary-new");
    const did = await recover("web1", host, { stop: false });
    assert.match(did[0]!, /undid a canary/);
    assert.ok(!existsSync(path!));
    assert.equal(lastOutcome(host).result, "undone");
    assert.equal(host.log.state.intents.size, 0);
  });

  it("is settled twice without harm", async () => {
    using host = new FakeHost();
    canary(host, "canary");
    await settleCanary("web1", host);
    assert.deepEqual(await settleCanary("web1", host), []);
  });

  it("is left alone where it is another guest's", async () => {
    using host = new FakeHost();
    const [path] = canary(host, "canary");
    await settleCanary("web2", host);
    assert.ok(existsSync(path!));
    assert.equal(host.log.state.intents.size, 1);
  });
});

describe("the kernel's status page", () => {
  it("is read as version, sequence, enforcing, policyload", () => {
    using host = new FakeHost();
    const page = new Uint8Array(new Uint32Array([1, 8, 1, 42, 0]).buffer);
    const path = host.file("status", page);
    assert.deepEqual(selinuxStatus(path), { enforcing: true, policyLoad: 42 });
  });

  it("is nothing where there is none, or another format", () => {
    using host = new FakeHost();
    assert.equal(selinuxStatus(`${host.folder}/none`), undefined);
    assert.equal(selinuxStatus(host.file("status", new Uint8Array(8))), undefined);
  });
});
