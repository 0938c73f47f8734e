/**
 * A snapshot of a paused guest. QEMU before 9.1 then says that it gave a descriptor up and keeps it:
 * nothing is called revoked before it has been seen to be.
 *
 * @module
 */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import type { AuditRecord } from "../../agent/audit/record.ts";
import type { FrozenImage } from "../../agent/operation/revocation.ts";
import { descriptorsOf } from "../../agent/process/descriptor.ts";
import type { GuestVerdict } from "../../agent/verify/guest.ts";
import { svirtAgent } from "./command.ts";
import { type GuestFile, LOG, logState, makeBase, makeGuest, prepareHost, Run } from "./world.ts";

/** QEMU 7.2 on Debian 12, 10.0 on 13. */
const KEEPS = process.env["LAB_RELEASE"] === "12";

const STORAGE_CASES = [
  ["ext4", "enforced (label)"],
  ["nfs42", "cooperative"],
] as const;

for (const [storage, grade] of STORAGE_CASES) {
  describe(`a snapshot on ${storage} of a guest that is paused`, () => {
    let guest: GuestFile;
    let run: Run;
    let pid: number;
    let identity: string;
    let image: FrozenImage;

    const qmp = (execute: string) => run.call("Qmp", { execute });
    const writers = () =>
      descriptorsOf(pid).filter((fd) => fd.identity === identity && fd.access === "rw");
    const revocations = () =>
      records().filter((it) => it.event === "revoke" && it.identity === identity);
    const isGranted = () =>
      logState().grants.get(guest.name)?.some((it) =>
        it.identity === identity && it.mode === "rw"
      ) === true;

    before(async () => {
      await prepareHost();
      makeBase(storage);
      guest = await makeGuest(`paused-${storage}`, storage);
      run = await new Run(guest.name, guest.file).running();
      const { verdict } = await run.call("Verify") as unknown as { verdict: GuestVerdict };
      pid = verdict.pid;
      identity = verdict.verdicts.find(({ path }) => path === guest.data)!.identity;
    });

    after(() => run.process.kill("SIGKILL"));

    it("starts from a guest in whose QEMU no descriptor is that nobody granted", async () => {
      const granted = logState().grants.get(guest.name)!.map(({ fd }) => fd).sort();
      const deadline = Date.now() + 20_000;
      let listed = await opaques();
      // What was tried at attach goes away once the guest runs.
      while (listed.length > granted.length && Date.now() < deadline) {
        await new Promise((resolve) => setTimeout(resolve, 100));
        listed = await opaques();
      }
      assert.deepEqual(listed.sort(), granted);
    });

    const wanted = KEEPS && grade === "cooperative" ? 1 : 0;
    it(`says ${KEEPS ? "pending" : grade}, and exits with ${wanted}`, async () => {
      await qmp("stop");
      const { status, stdout, stderr } = await svirtAgent(
        "snapshot",
        "create",
        guest.name,
        "data",
        "--json",
      );
      assert.equal(status, wanted, stderr + stdout);
      [image] = JSON.parse(stdout).images as [FrozenImage];
      assert.equal(image.pending, KEEPS ? true : undefined);
      assert.deepEqual(image.problems, []);
      assert.equal(writers().length > 0, KEEPS, "QEMU's own descriptors, as /proc shows them");
    });

    it("is as good as what was seen, and records no more", () => {
      // Where labels decide, the kernel denies the write through what QEMU keeps.
      const isRevoked = !KEEPS || grade !== "cooperative";
      assert.equal(image.grade, isRevoked ? grade : undefined);
      assert.equal(image.verdict?.verdict.write.answer, isRevoked ? "denied" : "allowed");
      assert.equal(revocations().length, isRevoked ? 1 : 0);
      assert.equal(isGranted(), !isRevoked, "the grant to write stays open until it is gone");
    });

    it("does not change its mind while the guest stays paused", async () => {
      const before = revocations().length;
      // Longer than the agent's period.
      await new Promise((resolve) => setTimeout(resolve, 3_000));
      assert.equal(writers().length > 0, KEEPS);
      assert.equal(revocations().length, before);
    });

    it(`takes everything away once the guest runs, and then says ${grade}`, async () => {
      await qmp("cont");
      const deadline = Date.now() + 30_000;
      while ((writers().length > 0 || isGranted()) && Date.now() < deadline) {
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      assert.deepEqual(writers(), []);
      const [revoked, ...more] = revocations();
      assert.equal(revoked?.event === "revoke" && revoked.grade, grade);
      assert.deepEqual(more, []);
      assert.equal(isGranted(), false);
      const { verdict } = await run.call("Verify") as unknown as { verdict: GuestVerdict };
      const now = verdict.verdicts.find((it) => it.identity === identity)!;
      assert.deepEqual([now.grade, now.asExpected], [grade, true]);
      assert.deepEqual(now.witnesses.holds, ["ro"]);
      if (KEEPS) assert.match(run.output, /QEMU has given up the descriptor/);
    });

    it("and stops in order", async () => {
      assert.equal(await run.stop(), 0, run.output);
    });

    /** What QEMU lists, by the names that descriptors were passed under. */
    async function opaques(): Promise<string[]> {
      const { said } = await qmp("query-fdsets");
      const sets = said as { fds: { opaque: string }[] }[];
      return sets.flatMap(({ fds }) => fds.map(({ opaque }) => opaque));
    }
  });
}

function records(): AuditRecord[] {
  return readFileSync(LOG, "utf8").trim().split("\n").map((line) => JSON.parse(line));
}
