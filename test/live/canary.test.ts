/**
 * The canary witness: a QEMU that is not the guest's, in its context, is denied what the guest would
 * be; and nothing of it is left, however it ends.
 *
 * @module
 */

import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { processContexts } from "../../agent/process/contexts.ts";
import { cgroupOf, membersOf } from "../../agent/process/cgroup.ts";
import type { CanaryAttempt } from "../../agent/verify/canary_report.ts";
import type { GuestVerdict } from "../../agent/verify/guest.ts";
import { avcsOf } from "./audit_log.ts";
import { must, svirtAgent } from "./command.ts";
import {
  claim,
  type GuestFile,
  logState,
  makeBase,
  makeGuest,
  prepareHost,
  Run,
  STORAGE,
} from "./world.ts";

/** The guest's domain: nobody else runs in it here. */
const DOMAIN = "svirt_prot_exec_t";

interface Verified {
  readonly status: number;
  readonly verdict: GuestVerdict;
  readonly attempts: readonly CanaryAttempt[];
}

/** Runs `verify`; the canary's own denials are claimed. */
async function verify(name: string, ...options: string[]): Promise<Verified> {
  const { status, stdout, stderr } = await svirtAgent("verify", name, "--json", ...options);
  assert.notEqual(stdout, "", stderr);
  const [verdict] = JSON.parse(stdout).guests as [GuestVerdict];
  const { canary } = verdict;
  if (canary !== undefined) await claimOf(canary.pid);
  return { status, verdict, attempts: canary?.attempts ?? [] };
}

async function claimOf(pid: number): Promise<void> {
  const avcs = await avcsOf(pid, ({ tcontext }) => !/:(sysfs|sysctl_vm)_t:/.test(tcontext), 1000);
  claim(
    avcs.filter(({ tclass }) => tclass !== "anon_inode").map(({ serial }) => serial),
    "canary",
  );
}

/** `state by answer`, one an attempt. */
function rows(attempts: readonly CanaryAttempt[]): string[] {
  return attempts.map(({ state, by, decision }) =>
    `${state} ${by} ${decision.answer} ${decision.by}`
  );
}

/** No file, no process besides the guest's, no cgroup, no open intent. */
function requireNothingLeft({ name, storage }: GuestFile): void {
  assert.deepEqual(readdirSync(STORAGE[storage]).filter((it) => it.includes("canary")), []);
  const cgroup = cgroupOf(`${name}:canary`);
  assert.deepEqual(membersOf(cgroup), []);
  assert.ok(!existsSync(cgroup.path), "its cgroup is gone");
  const guest = membersOf(cgroupOf(name));
  const others = processContexts().filter(({ pid, context }) =>
    context.includes(`:${DOMAIN}:`) && !guest.includes(pid)
  );
  assert.deepEqual(others, [], "its process is gone");
  const open = [...logState().intents.values()].filter((it) => it.operation === "canary");
  assert.deepEqual(open, [], "the log knows of none");
}

const EXPECTED: Readonly<Record<"ext4" | "nfs42", readonly string[]>> = {
  ext4: [
    "writable fdset allowed te",
    "writable path denied te",
    "writable proc-fd denied te",
    // The folder is root's, and its mode says no before SELinux is asked.
    "writable create denied dac",
    "writable write allowed te",
    "frozen fdset allowed te",
    "frozen path denied te",
    "frozen proc-fd denied te",
    "frozen write denied te",
    "shared fdset allowed te",
    "shared path denied te",
    "shared proc-fd denied te",
    "shared write denied te",
  ],
  // Nothing there takes write access away from whoever holds a descriptor: it is not tried.
  nfs42: [
    "unlabelled fdset allowed te",
    "unlabelled path denied te",
    "unlabelled proc-fd denied te",
    // The client leaves modes of folders to the server, and asks SELinux first.
    "unlabelled create denied te",
    "unlabelled write allowed te",
  ],
};

/** Root's own on the server: what the canary kept reads and does not write. */
const FENCED = [
  "fenced fdset allowed te",
  "fenced path denied te",
  "fenced proc-fd denied te",
  "fenced write denied server",
];

for (
  const [storage, fence] of [["ext4", "off"], ["nfs42", "off"], ["nfs42", "owner"]] as const
) {
  const expected = fence === "owner" ? [...EXPECTED[storage], ...FENCED] : EXPECTED[storage];
  describe(`verify --canary on ${storage}, fence = "${fence}"`, () => {
    let guest: GuestFile;
    let run: Run;
    let first: Verified;

    before(async () => {
      await prepareHost();
      makeBase(storage);
      guest = await makeGuest("web1", storage, fence);
      run = await new Run(guest.name, guest.file).running();
      first = await verify(guest.name, "--canary");
    });

    after(async () => {
      assert.equal(await run.stop(), 0, run.output);
    });

    it("uses what it was handed, and is denied the rest", () => {
      assert.deepEqual(rows(first.attempts), expected);
      assert.equal(first.status, 0, JSON.stringify(first.verdict));
    });

    it("ran in exactly the guest's context, and was another process", () => {
      const { canary, context, pid } = first.verdict;
      assert.equal(canary?.context, context);
      assert.notEqual(canary?.pid, pid);
    });

    it("has the kernel's record of each denial by SELinux, of that process", async () => {
      const denied = first.attempts.filter(({ decision }) => decision.by === "te")
        .filter(({ decision }) => decision.answer === "denied");
      const recorded = await avcsOf(first.verdict.canary!.pid);
      for (const { avc, by, state } of denied) {
        const record = recorded.find(({ serial }) => serial === avc?.serial);
        const permission = by === "write" || by === "create" ? "write" : "open";
        assert.ok(record?.denied.includes(permission), `${state} ${by}`);
        assert.equal(record?.permissive, false);
        assert.equal(record?.scontext, first.verdict.context);
      }
    });

    it("is a witness on each image, and raises no grade", () => {
      const shown = first.verdict.verdicts.map((
        { image, grade, witnesses: { canary } },
      ) => [image, canary?.open?.answer, canary?.write?.answer, grade]);
      const [write, grade] = storage === "ext4"
        ? ["denied", "enforced (label)"]
        : [undefined, "cooperative"];
      assert.deepEqual(shown, [
        ["root", "denied", "allowed", undefined],
        ["root backing file 1", "denied", write, grade],
        ["data", "denied", "allowed", undefined],
      ]);
    });

    it("leaves no file, no process, no cgroup and no open intent", () => requireNothingLeft(guest));

    it("is shown again without a new one, until booleans are committed", async () => {
      const again = await verify(guest.name);
      assert.deepEqual(again.verdict.canary, first.verdict.canary);
      await must("setsebool", "svirt_agent_set_booleans", "off");
      await must("setsebool", "svirt_agent_set_booleans", "on");
      const later = await verify(guest.name);
      assert.equal(later.verdict.canary, undefined);
      assert.equal(later.status, 0);
    });

    it("shows AVC serials on a terminal", async () => {
      const { status, stdout } = await svirtAgent("verify", guest.name, "--canary");
      const pid = Number(/canary.*\(pid (\d+)/.exec(stdout)?.[1]);
      await claimOf(pid);
      assert.equal(status, 0, stdout);
      assert.match(stdout, /CANARY/);
      assert.match(stdout, /ok +denied \(te\) +AVC \d+ \{.*open \} +\w+ +path/);
    });

    if (storage !== "nfs42") return;

    it("is a finding while virt_use_nfs is on, which lets it open by path", async () => {
      await must("setsebool", "virt_use_nfs", "on");
      const { status, verdict, attempts } = await verify(guest.name, "--canary").finally(() =>
        must("setsebool", "virt_use_nfs", "off")
      );
      assert.equal(status, 1);
      assert.equal(verdict.asExpected, false);
      const opened = attempts.filter(({ by }) => by === "path" || by === "proc-fd");
      assert.equal(opened.length, expected.filter((it) => /path|proc-fd/.test(it)).length);
      for (const { decision, asExpected } of opened) {
        assert.deepEqual([decision.answer, asExpected], ["allowed", false]);
      }
      requireNothingLeft(guest);
    });
  });
}
