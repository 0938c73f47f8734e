/** The booleans on which storage without labels rests, as an administrator meets them. */

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { claim, makeBase, makeGuest, prepareHost, Run } from "./world.ts";
import { must, svirtAgent } from "./command.ts";
import { recordedAvcs } from "./audit_log.ts";

before(async () => {
  await prepareHost();
  await must("setsebool", "virt_use_nfs", "on");
});

describe("svirt-agent boolean", () => {
  it("gets active and pending values", async () => {
    const { status, stdout } = await svirtAgent("boolean", "get", "virt_use_nfs", "--json");
    assert.equal(status, 0);
    const [state] = JSON.parse(stdout).booleans;
    assert.deepEqual([state.name, state.active, state.pending], ["virt_use_nfs", true, true]);
  });

  it("refuses a name that the policy does not have, with 2", async () => {
    const { status, stderr } = await svirtAgent("boolean", "get", "virt_use_nsf");
    assert.equal(status, 2);
    assert.match(stderr, /no boolean "virt_use_nsf"/);
  });

  it("plans which mounts depend on it, and changes nothing", async () => {
    const { status, stdout } = await svirtAgent("boolean", "plan", "virt_use_nfs", "off");
    assert.equal(status, 0);
    assert.match(stdout, /\/srv\/nfs42/);
    assert.equal((await must("getsebool", "virt_use_nfs")).trim(), "virt_use_nfs --> on");
  });

  it("sets nothing without being told twice", async () => {
    const { status, stderr } = await svirtAgent("boolean", "set", "virt_use_nfs", "off");
    assert.equal(status, 1);
    assert.match(stderr, /--yes/);
    assert.equal((await must("getsebool", "virt_use_nfs")).trim(), "virt_use_nfs --> on");
  });

  it("cannot set one where the administrator does not let the agent, and says how to", async () => {
    await must("setsebool", "svirt_agent_set_booleans", "off");
    const from = recordedAvcs().length;
    const { status, stderr } = await svirtAgent("boolean", "set", "virt_use_nfs", "off", "--yes");
    await must("setsebool", "svirt_agent_set_booleans", "on");
    assert.equal(status, 3, stderr);
    assert.match(stderr, /hint: .*setsebool svirt_agent_set_booleans on/);
    const denied = recordedAvcs().slice(from).filter(({ scontext }) =>
      scontext.includes("agent_t")
    );
    claim(denied.map(({ serial }) => serial), "booleans that the agent may not set");
  });

  it("sets it", async () => {
    const { status, stdout } = await svirtAgent("boolean", "set", "virt_use_nfs", "off", "--yes");
    assert.equal(status, 0);
    assert.equal(stdout.trim(), "virt_use_nfs is off");
    assert.equal((await must("getsebool", "virt_use_nfs")).trim(), "virt_use_nfs --> off");
  });
});

describe("virt_use_nfs switched on while a guest runs on NFS", () => {
  it("is noticed within seconds, and its plan tells passed descriptors from opened ones", async () => {
    makeBase("nfs42");
    const guest = await makeGuest("web1", "nfs42");
    const run = await new Run("web1", guest.file).running();
    await must("setsebool", "virt_use_nfs", "on");
    const deadline = Date.now() + 20_000;
    while (!run.output.includes("was switched on") && Date.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    assert.match(run.output, /virt_use_nfs was switched on/);
    const { stdout } = await svirtAgent("boolean", "plan", "virt_use_nfs", "off", "--json");
    const plan = JSON.parse(stdout);
    assert.deepEqual(plan.staysUsable, [], "the guest opened nothing itself");
    await must("setsebool", "virt_use_nfs", "off");
    assert.equal(await run.stop(), 0, run.output);
    const log = await svirtAgent("audit", "show");
    assert.match(log.stdout, /finding.*boolean-on/);
  });
});

describe("another boolean of the policy that lets guests open NFS", () => {
  it("is noticed by what the policy answers: use_nfs_home_dirs of the reference policy", async () => {
    makeBase("nfs42");
    const guest = await makeGuest("web1", "nfs42");
    const run = await new Run("web1", guest.file).running();
    await must("setsebool", "use_nfs_home_dirs", "on");
    const what = "use_nfs_home_dirs was switched on: the guest can open images by path";
    const deadline = Date.now() + 20_000;
    while (!run.output.includes(what) && Date.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    const { status, stdout } = await svirtAgent("verify", "web1");
    await must("setsebool", "use_nfs_home_dirs", "off");
    assert.ok(run.output.includes(what), run.output);
    assert.equal(status, 1, stdout);
    assert.equal(await run.stop(), 0, run.output);
  });

  it("keeps a guest from being started while it is on", async () => {
    await must("setsebool", "use_nfs_home_dirs", "on");
    const guest = await makeGuest("web2", "nfs42");
    const { status, stderr } = await svirtAgent("run", guest.file);
    await must("setsebool", "use_nfs_home_dirs", "off");
    assert.equal(status, 1, stderr);
    assert.match(stderr, /open is allowed/);
  });
});

describe("svirt_agent_read_audit switched off", () => {
  let run: Run;
  before(async () => {
    await must("setsebool", "virt_use_nfs", "off");
    await must("setsebool", "svirt_agent_read_audit", "off");
    const from = recordedAvcs().length;
    makeBase("nfs42");
    const guest = await makeGuest("web2", "nfs42");
    run = await new Run("web2", guest.file).running();
    const denied = recordedAvcs().slice(from).filter(({ denied }) => denied.includes("audit_read"));
    claim(denied.map(({ serial }) => serial), "the audit stream, which the agent may not read");
  });
  after(async () => {
    run.process.kill("SIGKILL");
    await must("setsebool", "svirt_agent_read_audit", "on");
  });

  it("lets a guest run, and says what nobody witnesses and how to change it", () => {
    assert.match(run.output, /no audit stream.*setsebool svirt_agent_read_audit on/);
  });

  it("leaves the policy to be asked", async () => {
    const { status, stdout } = await svirtAgent("verify", "web2");
    assert.equal(status, 0, stdout);
  });

  it("makes verify --through-guest exit with 3: no denial could be proved", async () => {
    const { status, stderr } = await svirtAgent("verify", "web2", "--through-guest");
    assert.equal(status, 3, stderr);
    assert.match(stderr, /does not read the audit stream/);
    assert.match(stderr, /hint: setsebool svirt_agent_read_audit on/);
    assert.equal(await run.stop(), 0, run.output);
  });
});
