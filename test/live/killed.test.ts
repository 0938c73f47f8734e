/**
 * The agent, or QEMU, dies by SIGKILL after each step of an attach; what the agent left is brought to
 * an end by the log alone. Steps are enumerated by the code.
 *
 * @module
 */

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { before, describe, it } from "node:test";
import { ATTACH_STEPS } from "../../agent/attach.ts";
import { processContexts } from "../../agent/process/contexts.ts";
import { cgroupOf, membersOf } from "../../agent/process/cgroup.ts";
import { command, must, svirtAgent } from "./command.ts";
import {
  type GuestFile,
  logState,
  makeBase,
  makeGuest,
  prepareHost,
  Run,
  type Storage,
} from "./world.ts";

/** The guest's domain has levels of its own: nobody else runs in it here. */
const DOMAIN = "svirt_prot_exec_t";

async function state({ root, data, base }: GuestFile): Promise<string> {
  return await must("stat", "-c", "%n %u:%g %a %C", root, data, base);
}

async function requireClear(guest: GuestFile, before: string): Promise<void> {
  assert.equal(await state(guest), before, "labels and owners are as before");
  assert.deepEqual(membersOf(cgroupOf(guest.name)), [], "its cgroup is empty");
  assert.ok(!existsSync(cgroupOf(guest.name).path), "its cgroup is gone");
  const left = processContexts().filter(({ context }) => context.includes(`:${DOMAIN}:`));
  assert.deepEqual(left, [], "nothing runs in a guest's context");
  // QEMU's own locks are refused as long as anybody holds one of ours.
  await must("qemu-io", "-f", "qcow2", "-c", "write 0 512", guest.root);
  const { levels, grants, intents } = logState();
  assert.deepEqual(
    [levels.size, grants.size, intents.size],
    [0, 0, 0],
    "the log knows of no guest",
  );
}

/** It is attached: without --stop nobody ends it. */
async function requireLeftAlone({ name }: GuestFile): Promise<void> {
  const { status, stderr } = await svirtAgent("guest", "recover", name);
  assert.equal(status, 1);
  assert.match(stderr, /runs \(pid \d+\) and its agent is gone/);
  assert.match(stderr, /hint: .*--stop/);
  assert.equal(membersOf(cgroupOf(name)).length, 1, "its QEMU runs on");
}

for (const storage of ["ext4", "nfs42"] satisfies Storage[]) {
  describe(`the agent or QEMU is killed while a guest is attached on ${storage}`, () => {
    let guest: GuestFile;
    let asBefore: string;
    before(async () => {
      await prepareHost();
      makeBase(storage);
      guest = await makeGuest("web1", storage);
      asBefore = await state(guest);
    });

    // On NFS the steps that leave something else behind than on ext4.
    const steps = storage === "ext4" ? ATTACH_STEPS : ["open", "pass", "record"] as const;
    for (const step of steps) {
      it(`after "${step}": recovery leaves nothing of it`, async () => {
        const run = new Run(guest.name, guest.file, { SVIRT_TEST_DIE_AFTER: `attach:${step}` });
        assert.equal(await run.ended, 137, run.output);
        if (step === "record") await requireLeftAlone(guest);
        const { status, stderr } = await svirtAgent("guest", "recover", guest.name, "--stop");
        assert.equal(status, 0, stderr);
        await requireClear(guest, asBefore);
      });
    }

    // Before them there is no QEMU.
    const withQemu = ATTACH_STEPS.slice(ATTACH_STEPS.indexOf("start"));
    for (const step of storage === "ext4" ? withQemu : ["pass", "graph", "record"] as const) {
      it(`QEMU is killed after "${step}": the agent says so, with 3, and leaves nothing`, async () => {
        const env = { SVIRT_TEST_KILL_QEMU_AFTER: `attach:${step}` };
        const run = new Run(guest.name, guest.file, env);
        assert.equal(await run.ended, 3, run.output);
        assert.match(run.output, /QEMU died \(SIGKILL\).*\n.*hint: /);
        await requireClear(guest, asBefore);
        const { stdout } = await svirtAgent("guest", "recover", guest.name);
        assert.match(stdout, /there is nothing to recover/);
      });
    }

    if (storage !== "ext4") return;

    it("and run recovers by itself before it starts the guest", async () => {
      const died = new Run(guest.name, guest.file, { SVIRT_TEST_DIE_AFTER: "attach:graph" });
      assert.equal(await died.ended, 137, died.output);
      const run = await new Run(guest.name, guest.file).running();
      assert.match(run.output, /recovered: undid an attach that had not finished/);
      assert.equal(await run.stop(), 0, run.output);
      await requireClear(guest, asBefore);
    });

    it("and the log verifies after all of it, and lists no guest", async () => {
      const list = await svirtAgent("guest", "list", "--json");
      assert.deepEqual(JSON.parse(list.stdout).guests, []);
      const { status, stdout } = await command("/usr/sbin/svirt-agent", ["audit", "verify"]);
      assert.equal(status, 0, stdout);
    });
  });
}
