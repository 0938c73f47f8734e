/**
 * The policy is broken on purpose, one rule at a time, under a guest that runs and before one that is
 * to be started: the agent names the promise that does not hold, and starts nothing.
 *
 * @module
 */

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { descriptorsOf } from "../../agent/process/descriptor.ts";
import type { GuestVerdict } from "../../agent/verify/guest.ts";
import { avcsOf, recordedAvcs } from "./audit_log.ts";
import { loadBroken, loadGood } from "./broken_policy.ts";
import { must, svirtAgent } from "./command.ts";
import { Holder } from "./holder.ts";
import { leftAlone } from "./left_alone.ts";
import { claim, type GuestFile, makeBase, makeGuest, prepareHost, Run, USER } from "./world.ts";

/** One way to break the policy, and the way back. */
interface Sabotage {
  readonly breaks: () => unknown;
  readonly mends: () => unknown;
}

/** One of the rules of test/lab/sabotage/rules.cil. */
const rule = (boolean: string): Sabotage => ({
  breaks: () => must("setsebool", boolean, "on"),
  mends: () => must("setsebool", boolean, "off"),
});

/** A whole policy. The rules, all off, come back with it. */
const policy = (name: string): Sabotage => ({
  breaks: () => loadBroken(name),
  mends: () => loadBroken("rules"),
});

const OPENED = "promise 1, inherited, never opened";
const OTHERS = "promise 2, nobody else's";
const FROZEN = "promise 3, frozen means frozen";

const ANOTHER = (type: string) => `another guest \\(system_u:system_r:${type}:s0:c1022,c1023\\)`;

/**
 * What is broken, how, and what the agent has to say: of `web1`, which runs and has a frozen image, and
 * of a guest that is to be started.
 */
// deno-fmt-ignore
const BROKEN: readonly [what: string, Sabotage, { verify: RegExp[]; run: RegExp[] }][] = [
  ["a guest may open its own image", rule("lab_image_open"), {
    verify: [RegExp(`web1\\S*": open is allowed \\(te\\), expected denied: ${OPENED}`)],
    run: [RegExp(`web2\\.qcow2": open is allowed \\(te\\), expected denied: ${OPENED}`)],
  }],
  ["a guest may open a base that it reads", rule("lab_ro_open"), {
    verify: [RegExp(`base\\.raw": open is allowed .*${OPENED}`)],
    run: [RegExp(`base\\.raw": open is allowed .*${OPENED}`)],
  }],
  ["a guest may map its own image, and a mapping outlives a relabel", rule("lab_image_map"), {
    verify: [RegExp(`web1\\S*": map is allowed .*${OPENED}`)],
    run: [RegExp(`web2\\.qcow2": map is allowed .*${OPENED}`)],
  }],
  ["a guest may map what is frozen", rule("lab_ro_map"), {
    verify: [RegExp(`web1-data\\.raw": map is allowed .*${OPENED}`)],
    run: [RegExp(`base\\.raw": map is allowed .*${OPENED}`)],
  }],
  ["a guest may write what is frozen, and a base that others share", rule("lab_ro_write"), {
    verify: [
      RegExp(`web1-data\\.raw": write is allowed .*${FROZEN}`),
      RegExp(`base\\.raw": write is allowed .*${OTHERS}`),
      RegExp(`base\\.raw": ${ANOTHER("svirt_t")} could write it: ${OTHERS}`),
    ],
    run: [RegExp(`base\\.raw": write is allowed .*${OTHERS}`)],
  }],
  ["a guest may append to what is frozen, which O_APPEND makes of any write", rule("lab_ro_append"), {
    verify: [
      RegExp(`web1-data\\.raw": append is allowed .*${FROZEN}`),
      RegExp(`base\\.raw": append is allowed .*${OTHERS}`),
    ],
    run: [RegExp(`base\\.raw": append is allowed .*${OTHERS}`)],
  }],
  ["a guest may relabel its images", rule("lab_relabel"), {
    verify: [RegExp(`web1-data\\.raw": relabelfrom is allowed .*${FROZEN}`)],
    run: [RegExp(`web2\\.qcow2": relabelto is allowed .*${FROZEN}`)],
  }],
  ["categories no longer separate guests", policy("categories"), {
    verify: [
      RegExp(`web1-data\\.raw": ${ANOTHER("svirt_t")} could read it: ${OTHERS}`),
      RegExp(`web1\\.qcow2": ${ANOTHER("svirt_prot_exec_t")} could read, write it: ${OTHERS}`),
    ],
    run: [RegExp(`web2-data\\.raw": ${ANOTHER("svirt_t")} could read, write it: ${OTHERS}`)],
  }],
  ["the guest's domain is permissive", policy("permissive_guest"), {
    verify: [RegExp(`svirt_prot_exec_t is permissive: nothing is denied to it.*${OPENED}`)],
    run: [RegExp(`svirt_prot_exec_t is permissive: nothing is denied to it.*${OPENED}`)],
  }],
  ["the domain of other guests is permissive", policy("permissive_other"), {
    verify: [RegExp(`svirt_t is permissive: nothing is denied to it.*${OTHERS}`)],
    run: [RegExp(`svirt_t is permissive: nothing is denied to it.*${OTHERS}`)],
  }],
];

let web1: GuestFile, web2: GuestFile, nfs: GuestFile;
let running: Run;

/** Starts a guest, and stops it should it run. */
async function start(guest: GuestFile): Promise<{ ran: boolean; status: number; output: string }> {
  const run = new Run(guest.name, guest.file);
  const ran = await run.running().then(async () => {
    await run.stop();
    return true;
  }, () => false);
  return { ran, status: await run.ended, output: run.output };
}

async function refuses(guest: GuestFile, ...patterns: readonly RegExp[]): Promise<void> {
  const before = await leftAlone(guest);
  const { status, output } = await start(guest);
  assert.equal(status, 1, output);
  for (const pattern of patterns) assert.match(output, pattern);
  assert.match(output, /hint: .*(sesearch|seinfo|semanage)/);
  assert.deepEqual(await leftAlone(guest), before, "nothing is left of it");
}

before(async () => {
  await prepareHost();
  makeBase("ext4");
  makeBase("nfs42");
  web1 = await makeGuest("web1", "ext4");
  web2 = await makeGuest("web2", "ext4");
  nfs = await makeGuest("nfs1", "nfs42");
  running = await new Run(web1.name, web1.file).running();
  const { status, stderr } = await svirtAgent("snapshot", "create", "web1", "data");
  assert.equal(status, 0, stderr);
  loadBroken("rules");
});

after(() => running.process.kill("SIGKILL"));

describe("a policy that nobody has broken yet", () => {
  it("keeps its booleans when it is loaded, and a guest runs as expected", async () => {
    assert.equal((await must("getsebool", "virt_read_write_nfs")).trim().slice(-2), "on");
    const { status, stdout } = await svirtAgent("verify", "web1");
    assert.equal(status, 0, stdout);
  });

  it("lets another one start", async () => {
    const { ran, status, output } = await start(web2);
    assert.deepEqual({ ran, status }, { ran: true, status: 0 }, output);
  });
});

for (const [what, { breaks, mends }, { verify, run }] of BROKEN) {
  describe(what, () => {
    let from: number;
    before(async () => {
      from = recordedAvcs().length;
      await breaks();
    });
    after(async () => {
      await mends();
      // What a permissive domain did is recorded as if it had been denied.
      const permitted = recordedAvcs().slice(from).filter(({ permissive }) => permissive);
      claim(permitted.map(({ serial }) => serial), what);
    });

    it("verify of a guest that runs exits with 1 and names the promise", async () => {
      const { status, stdout } = await svirtAgent("verify", "web1");
      assert.equal(status, 1, stdout);
      for (const pattern of verify) assert.match(stdout, pattern);
      assert.match(stdout, /hint: .*(sesearch|seinfo|semanage)/);
    });

    it("run starts no guest, exits with 1 and names the promise", async () => {
      await refuses(web2, ...run);
    });
  });
}

describe("a guest of another domain may open images on NFS, where categories separate nothing", () => {
  const { breaks, mends } = rule("lab_nfs_open");
  before(breaks);
  after(mends);

  it("run starts no guest there, exits with 1 and names the promise", async () => {
    await refuses(nfs, RegExp(`nfs1\\.qcow2": ${ANOTHER("svirt_t")} could open it: ${OTHERS}`));
  });
});

describe("every ioctl is allowed on images", () => {
  const { breaks, mends } = policy("ioctl");
  let holder: Holder, kept: number, overlay: number;

  before(async () => {
    const { verdict } = await running.call("Verify") as unknown as { verdict: GuestVerdict };
    const { pid, context, verdicts } = verdict;
    const held = descriptorsOf(pid).filter(({ access }) => access === "rw");
    const numberOf = (image: string) =>
      held.find((fd) => fd.identity === verdicts.find((it) => it.image === image)?.identity)!
        .number;
    holder = await Holder.start(context, USER);
    kept = await holder.take(pid, numberOf("root"));
    overlay = await holder.take(pid, numberOf("data"));
    const { status, stderr } = await svirtAgent("snapshot", "create", "web1", "root");
    assert.equal(status, 0, stderr);
  });
  after(async () => {
    holder[Symbol.dispose]();
    await mends();
  });

  it("with the rule that names two, a hostile holder cannot replace blocks of what is frozen", async () => {
    assert.equal(await holder.ask(`moveext ${overlay} ${kept}`), "err EACCES");
    const avcs = await avcsOf(holder.pid, ({ denied }) => denied.includes("ioctl"));
    assert.equal(avcs.length, 1);
    claim(avcs.map(({ serial }) => serial), "an ioctl that the policy does not name");
  });

  it("without it the holder can, and no question about a class tells the agent so", async () => {
    await breaks();
    assert.equal(await holder.ask(`moveext ${overlay} ${kept}`), "0");
    // security_compute_av(3) answers for `ioctl` as a whole: the lab's holder is the witness.
    const { verdict } = await running.call("Verify") as unknown as { verdict: GuestVerdict };
    assert.deepEqual(verdict.verdicts.filter(({ asExpected }) => !asExpected), []);
    // It does see the holder itself.
    assert.match(verdict.problems.join(), /has this guest's categories/);
  });
});

describe("the policy as it was", () => {
  before(loadGood);

  it("makes everything as expected again", async () => {
    const { status, stdout } = await svirtAgent("verify", "web1");
    assert.equal(status, 0, stdout);
    assert.equal(await running.stop(), 0, running.output);
  });
});
