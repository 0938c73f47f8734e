import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Avc } from "../../agent/audit/avc.ts";
import type { Answered } from "../../agent/command/verify_view.ts";
import { watchVerdicts } from "../../agent/command/verify_watch.ts";
import type { SelinuxStatus } from "../../agent/label/status.ts";
import { type Change, policyChanges, type PolicyState } from "../../agent/verify/change.ts";

const CONTEXT = "system_u:system_r:svirt_t:s0:c1,c2";
const [GUEST, CANARY] = [100, 200];

function avc(serial: number, pid: number = GUEST, scontext: string = CONTEXT): Avc {
  const common = { time: 1, denied: ["open"], tcontext: "t", tclass: "file", permissive: false };
  return { serial, pid, scontext, ...common };
}

function state(policyLoad: number, booleans: Record<string, boolean> = {}): PolicyState {
  return { status: { enforcing: true, policyLoad }, booleans: new Map(Object.entries(booleans)) };
}

/** A kernel whose policy and denials the test changes, and a guard that answers from it. */
class World {
  policyLoad = 1;
  hasStatus = true;
  booleans: Record<string, boolean> = { virt_use_nfs: false };
  denials: Avc[] = [];
  /** Each time the guard was asked: whether it was to provoke. */
  readonly asked: boolean[] = [];
  readonly shown: Change[][] = [];
  /** Called when a verdict is shown, with how often that was. */
  onShow: (times: number) => void = () => {};
  readonly #ended = Promise.withResolvers<string>();

  end(): void {
    this.#ended.resolve("SIGINT");
  }

  watch(): Promise<number> {
    const status = (): SelinuxStatus | undefined =>
      this.hasStatus ? { enforcing: true, policyLoad: this.policyLoad } : undefined;
    return watchVerdicts(
      {
        ask: (provoking) => {
          this.asked.push(provoking);
          // The canary is denied what it tries, while it is asked.
          if (provoking) this.denials.push(avc(900 + this.asked.length, CANARY));
          const answer = { context: CONTEXT, canary: { pid: CANARY }, attempts: [] };
          return Promise.resolve([answer as unknown as Answered]);
        },
        show: (changes) => {
          this.shown.push([...changes]);
          this.onShow(this.shown.length);
          return this.booleans["virt_use_nfs"] ? 1 : 0;
        },
      },
      {
        policy: () => ({ status: status(), booleans: new Map(Object.entries(this.booleans)) }),
        takeAvcs: () => this.denials.splice(0),
        [Symbol.dispose]() {},
      },
      this.#ended.promise,
    );
  }
}

/** Ends the watch when nothing more has come for a while. */
function endSoon(world: World, ms = 1_600): void {
  setTimeout(() => world.end(), ms);
}

describe("what changed between two moments of the policy", () => {
  const TIME = "2026-11-21T00:00:00.000Z";
  for (
    const [what, before, now, texts] of [
      ["nothing", state(1, { a: true }), state(1, { a: true }), []],
      ["a boolean, by name", state(1, { a: true, b: false }), state(2, { a: false, b: false }), [
        "boolean a is off",
      ]],
      ["a policy with a boolean that is new", state(1), state(2, { a: true }), [
        "a policy was loaded, or booleans were committed as they were",
      ]],
    ] as const
  ) {
    it(what, () => {
      assert.deepEqual(policyChanges(before, now, TIME).map(({ text }) => text), texts);
    });
  }

  it("the mode, as well", () => {
    const permissive = { status: { enforcing: false, policyLoad: 1 }, booleans: new Map() };
    const [change] = policyChanges(state(1), permissive, TIME);
    assert.deepEqual([change?.kind, change?.text], ["mode", "SELinux is permissive"]);
  });
});

describe("verify --watch", () => {
  it("shows the verdicts once where nothing changes, whatever its own canary is denied", async () => {
    const world = new World();
    endSoon(world);
    assert.equal(await world.watch(), 0);
    assert.deepEqual(world.asked, [true]);
  });

  it("asks again on a boolean, provokes anew, and ends with the last verdict's status", async () => {
    const world = new World();
    world.onShow = (times) => {
      if (times === 1) {
        world.booleans = { virt_use_nfs: true };
        world.policyLoad++;
      } else endSoon(world);
    };
    assert.equal(await world.watch(), 1);
    assert.deepEqual(world.asked, [true, true]);
    assert.deepEqual(world.shown[1]!.map(({ text }) => text), ["boolean virt_use_nfs is on"]);
  });

  it("asks again on a denial of the guest, and provokes nothing by that", async () => {
    const world = new World();
    world.onShow = (times) => {
      if (times === 1) world.denials.push(avc(1), avc(2, 300, CONTEXT.replace("c2", "c3")));
      else endSoon(world);
    };
    assert.equal(await world.watch(), 0);
    assert.deepEqual(world.asked, [true, false]);
    assert.deepEqual(world.shown[1]!.map(({ avc }) => avc?.serial), [1], "its own alone");
  });

  it("looks again each second where the status of the policy cannot be read", async () => {
    const world = new World();
    world.hasStatus = false;
    world.onShow = (times) => times === 3 && world.end();
    await world.watch();
    assert.deepEqual(world.shown.map(([change]) => change?.kind), ["start", "poll", "poll"]);
    assert.deepEqual(world.asked, [true, false, false]);
  });

  it("ends at once while the guard has not answered", async () => {
    const ended = Promise.resolve("SIGINT");
    const sources = { policy: () => state(1), takeAvcs: () => [], [Symbol.dispose]() {} };
    const watching = { ask: () => new Promise<never>(() => {}), show: () => 0 };
    assert.equal(await watchVerdicts(watching, sources, ended), 3, "nothing was found out");
  });
});
