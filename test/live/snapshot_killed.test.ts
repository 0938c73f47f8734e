/**
 * The agent, or QEMU, dies by SIGKILL after each step of a snapshot, while the guest writes. Steps are
 * enumerated by the code.
 *
 * Whoever dies: what was frozen stays frozen until it is given back, nothing is left of the guest, and
 * all that it wrote and flushed is in the chain that recovery names.
 *
 * @module
 */

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { isAtLevel } from "../../agent/label/context.ts";
import { SNAPSHOT_STEPS } from "../../agent/operation/snapshot_steps.ts";
import { cgroupOf } from "../../agent/process/cgroup.ts";
import { processContexts } from "../../agent/process/contexts.ts";
import { VarlinkError } from "../../agent/service/varlink.ts";
import { must, svirtAgent } from "./command.ts";
import { throughAgent, throughMonitor } from "./guest_writes.ts";
import { putOnTop } from "./next_chain.ts";
import { fileState, Victim } from "./victim.ts";
import { logState, makeBase, prepareHost, Run, STORAGE, type Storage } from "./world.ts";

type Step = typeof SNAPSHOT_STEPS[number];

/** How many writes are acknowledged before the snapshot begins, and after its agent died. */
const WRITES = 4;

const isFrom = (first: Step, step: Step) =>
  SNAPSHOT_STEPS.indexOf(step) >= SNAPSHOT_STEPS.indexOf(first);

/** What whoever asked for a snapshot is told before the agent ends: an error's name, or how many. */
async function snapshotAnswer(run: Run): Promise<unknown> {
  try {
    const { images } = await run.call("SnapshotCreate", { images: [] });
    return `${(images as unknown[]).length} images frozen`;
  } catch (error) {
    return error instanceof VarlinkError ? error.parameters["name"] : error;
  }
}

/** Where QEMU dies before it can have switched over. Both errors end a command with 3. */
const ANSWERS: Partial<Record<Step, string>> = {
  intent: "MonitorError",
  create: "MonitorError",
  prepare: "UnknownOutcomeError",
};

/** No promise is broken, and nothing is left of the guest. */
async function requireClear(
  { guest: { name, root, data }, asBefore, level }: Victim,
): Promise<void> {
  assert.equal(await fileState(root, data), asBefore, "labels, owners and modes are as before");
  assert.ok(!existsSync(cgroupOf(name).path), "its cgroup is gone");
  const left = processContexts().filter(({ context }) => isAtLevel(context, level));
  assert.deepEqual(left, [], "nothing runs in its context");
  const { levels, grants, intents, references } = logState();
  assert.deepEqual(
    [
      levels.get(name),
      grants.get(name),
      [...intents.values()].filter(({ guest }) => guest === name),
      [...references.values()].filter(({ users }) => users.some(({ guest }) => guest === name)),
    ],
    [undefined, undefined, [], []],
    "the log knows nothing of it that is open",
  );
}

/** The chain that recovery names holds all that was acknowledged, and nobody else has a lock on it. */
async function requireData({ guest, asBefore, writes }: Victim, isTaken: boolean): Promise<void> {
  const { overlays } = logState();
  const made = await must("sh", "-c", `ls -d ${STORAGE[guest.storage]}/${guest.name}*.2* || true`);
  const [root, data] = [guest.root, guest.data].map((path) => overlays.get(path));
  if (isTaken) {
    assert.deepEqual(made.split("\n").filter(Boolean).sort(), [root, data].sort());
    assert.equal(
      await fileState(root!, data!),
      asBefore,
      "the overlays are like what they stand on",
    );
  } else assert.deepEqual([made, root, data], ["", undefined, undefined], "no overlay is left");
  for (
    const [image, top, format] of [
      ["root", root ?? guest.root, "qcow2"],
      ["data", data ?? guest.data, isTaken ? "qcow2" : "raw"],
    ] as const
  ) {
    await writes.requireIn(image, top, format);
    await must("qemu-io", "-f", format, "-c", "write 15M 512", top);
  }
}

/** Of the chains, only that which recovery names starts. */
async function requireStartsOnIt({ guest, writes }: Victim): Promise<void> {
  const { overlays } = logState();
  const [root, data] = [overlays.get(guest.root)!, overlays.get(guest.data)!];
  const { status, stderr } = await svirtAgent("run", guest.file);
  assert.equal(status, 1, stderr);
  assert.match(stderr, /was frozen by a snapshot/);
  assert.ok(stderr.includes(root), stderr);
  putOnTop(guest, { root: [root], data: [data] });
  const run = await new Run(guest.name, guest.file).running();
  for (let i = 0; i < WRITES; i++) await writes.once(throughAgent(run));
  assert.equal(await run.stop(), 0, run.output);
}

for (const storage of ["ext4", "nfs42"] satisfies Storage[]) {
  describe(`while a snapshot is taken of a guest on ${storage}`, { concurrency: 2 }, () => {
    const base = `${STORAGE[storage]}/base.raw`;
    let baseBefore: string;
    before(async () => {
      await prepareHost();
      makeBase(storage);
      baseBefore = await fileState(base);
    });
    after(async () => assert.equal(await fileState(base), baseBefore, "the base is as before"));

    for (const step of SNAPSHOT_STEPS) {
      it(`the agent is killed after "${step}": recovery loses and leaves nothing`, async () => {
        const env = { SVIRT_TEST_DIE_AFTER: `snapshot:${step}` };
        using victim = await Victim.start(`agent-${step}`, storage, env);
        const { guest, run, writes, level } = victim;
        const writing = writes.untilGone(throughAgent(run));
        await writes.reaches(WRITES);
        run.call("SnapshotCreate", { images: [] }).catch(() => {});
        assert.equal(await run.ended, 137, run.output);
        await writing;

        using alone = await throughMonitor(guest.name, level);
        for (let i = 0; i < WRITES; i++) await writes.once(alone.io);
        if (isFrom("relabel", step)) {
          await victim.requireNoWrite();
          await writes.once(alone.io);
        }
        await victim.endHolder();
        if (isFrom("relabel", step)) await victim.claimDenials();
        const { status, stderr } = await svirtAgent("guest", "recover", guest.name, "--stop");
        assert.equal(status, 0, stderr);
        await requireClear(victim);
        await requireData(victim, isFrom("prepare", step));
        if (step !== "relabel") return;
        await requireStartsOnIt(victim);
        await requireClear(victim);
        await requireData(victim, true);
      });

      it(`QEMU is killed after "${step}": its agent loses and leaves nothing`, async () => {
        const env = { SVIRT_TEST_KILL_QEMU_AFTER: `snapshot:${step}` };
        using victim = await Victim.start(`qemu-${step}`, storage, env);
        const { guest, run, writes } = victim;
        const writing = writes.untilGone(throughAgent(run));
        await writes.reaches(WRITES);
        const answer = snapshotAnswer(run);
        // The holder has the guest's categories: as long as it is there nothing is given back.
        if (isFrom("transaction", step)) {
          await run.reaching("snapshot: relabel");
          await victim.requireNoWrite();
        } else await writing;
        await victim.endHolder();
        assert.equal(await run.ended, 3, run.output);
        await writing;
        assert.match(run.output, /ended \(QEMU: SIGKILL\)/);
        assert.equal(await answer, ANSWERS[step] ?? "2 images frozen");
        if (isFrom("transaction", step)) await victim.claimDenials();
        await requireClear(victim);
        await requireData(victim, isFrom("prepare", step));
        const { stdout, stderr } = await svirtAgent("guest", "recover", guest.name);
        assert.match(stdout, /there is nothing to recover/, stderr);
      });
    }
  });
}

describe("after all of it", () => {
  it("the log verifies, and lists no guest", async () => {
    const { status, stdout } = await svirtAgent("audit", "verify");
    assert.equal(status, 0, stdout);
    const list = await svirtAgent("guest", "list", "--json");
    assert.deepEqual(JSON.parse(list.stdout).guests, []);
  });
});
