/**
 * The agent's policy modules come and go, on a host that enforces all the while.
 *
 * Run by what an administrator has, a domain that may load a policy: not by the agent.
 *
 * @module
 */

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { cpSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { before, describe, it } from "node:test";
import { processContexts } from "../../agent/process/contexts.ts";
import { kernel } from "../../agent/label/selinux.ts";
import { command, type Finished, must, svirtAgent } from "./command.ts";
import { makeBase, makeGuest, prepareHost, Run } from "./world.ts";

const PROGRAM = "/src/dist/agent/main.js";
const STORE = "/var/lib/selinux/default/active";
const LOCAL = `${STORE}/file_contexts.local`;
const LEFT = "/srv/ext4/left.raw";
const BROKEN = "/run/broken-modules";

/** `svirt-agent policy`, in this process's own domain. */
function policy(...args: string[]): Promise<Finished> {
  return command(process.execPath, [PROGRAM, "policy", ...args]);
}

/** The same, in a session of its own, as at a terminal. */
class Watched {
  readonly #child: ChildProcess;
  readonly ended: Promise<number>;
  output = "";

  constructor(...args: string[]) {
    this.#child = spawn(process.execPath, [PROGRAM, "policy", ...args], {
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    for (const stream of [this.#child.stdout!, this.#child.stderr!]) {
      stream.on("data", (chunk) => this.output += chunk);
    }
    this.ended = new Promise((resolve) => this.#child.on("close", (code) => resolve(code ?? 137)));
  }

  async reaching(text: string): Promise<this> {
    while (!this.output.includes(text)) {
      assert.equal(this.#child.exitCode, null, this.output);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return this;
  }

  /** To all of its process group, as Ctrl-C at a terminal. */
  signal(name: "SIGINT"): void {
    process.kill(-this.#child.pid!, name);
  }
}

/** Does the kernel's policy have the modules' types? */
function knowsTypes(): boolean {
  const [first, ...others] = ["svirt_fd_image_t", "svirt_fd_ro_t", "svirt_agent_exec_t"].map((
    type,
  ) => kernel.knows({ user: "system_u", role: "object_r", type, level: "s0" }));
  assert.ok(others.every((it) => it === first), "all of them or none");
  return first!;
}

/** All that a change of the policy changes; a file that is written anew has another ctime. */
async function snapshot(): Promise<string> {
  const print = "%p %i %s %C@\\n";
  const files = await must("find", STORE, "/etc/selinux/default", "-type", "f", "-printf", print);
  const sorted = files.split("\n").sort().join("\n");
  return `${kernel.status()?.policyLoad} ${await typeOf(LEFT)} ${sorted}`;
}

async function typeOf(path: string): Promise<string> {
  return (await must("stat", "-c", "%C", path)).trim().split(":")[2]!;
}

/** The process that holds the transaction. */
function transactionPid(): number {
  const found = processContexts().find(({ pid }) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("module/transaction");
    } catch {
      return false;
    }
  });
  assert.ok(found, "no transaction runs");
  return found.pid;
}

before(async () => {
  await prepareHost();
  makeBase("ext4");
  writeFileSync(LEFT, new Uint8Array(4096));
});

describe("svirt-agent policy install where the modules are", () => {
  it("has nothing to do, and does nothing", async () => {
    const was = await snapshot();
    const { status, stdout, stderr } = await policy("install");
    assert.equal(status, 0, stderr);
    assert.match(stdout, /^nothing to do: svirt_agent [0-9a-f]{12}, svirt_agent_runtime/);
    assert.equal(await snapshot(), was);
  });

  it("is refused in the agent's own domain, which loads no policy", async () => {
    const { status, stderr } = await svirtAgent("policy", "install");
    assert.equal(status, 1, stderr);
    assert.match(stderr, /svirt_agent_t loads no policy/);
    assert.match(stderr, /hint: As an administrator/);
  });

  it("changes nothing when a module cannot be built, and names the line", async () => {
    cpSync("/src/policies/svirt_agent", BROKEN, { recursive: true });
    const broken = `${BROKEN}/svirt_fd.cil`;
    const lines = readFileSync(broken, "utf8").trimEnd().split("\n");
    writeFileSync(broken, [...lines, "(allow virt_domain no_such_t (file (read)))", ""].join("\n"));
    const was = await snapshot();
    const { status, stderr } = await policy("install", BROKEN);
    assert.equal(status, 3, stderr);
    assert.ok(stderr.includes(`${broken}:${lines.length + 1}`), stderr);
    assert.match(stderr, /Nothing was changed/);
    assert.equal(await snapshot(), was);
  });
});

describe("svirt-agent policy remove", () => {
  it("is refused while a guest runs, and names it", async () => {
    const guest = await makeGuest("web1", "ext4");
    const run = await new Run("web1", guest.file).running();
    const was = await snapshot();
    const { status, stderr } = await policy("remove", "--relabel");
    assert.equal(status, 1, stderr);
    assert.match(stderr, /guest web1 has images/);
    assert.match(stderr, /svirt-agent guest stop web1/);
    assert.equal(await snapshot(), was);
    assert.equal(await run.stop(), 0, run.output);
  });

  it("is refused while a rule of semanage fcontext names a type, and names its path", async () => {
    const before = readFileSync(LOCAL, "utf8");
    writeFileSync(LOCAL, `${before}/srv/frozen\tsystem_u:object_r:svirt_fd_ro_t:s0\n`);
    const { status, stderr } = await policy("remove");
    writeFileSync(LOCAL, before);
    assert.equal(status, 1, stderr);
    assert.match(stderr, /gives \/srv\/frozen the type svirt_fd_ro_t/);
    assert.match(stderr, /semanage fcontext -d '\/srv\/frozen'/);
  });

  it("is refused while an image has a label of theirs; --dry-run says which and does nothing", async () => {
    await must("chcon", "-t", "svirt_fd_ro_t", LEFT);
    const was = await snapshot();
    const plain = await policy("remove");
    assert.equal(plain.status, 1, plain.stderr);
    assert.match(plain.stderr, /1 image with a label of the modules/);
    assert.match(plain.stderr, /--relabel/);
    const dry = await policy("remove", "--relabel", "--dry-run");
    assert.equal(dry.status, 0, dry.stderr);
    assert.match(
      dry.stdout,
      /label of \/srv\/ext4\/left\.raw: \S*:svirt_fd_ro_t:\S* becomes \S*:virt_image_t:/,
    );
    assert.match(dry.stdout, /module svirt_fd is removed/);
    assert.equal(await snapshot(), was);
  });

  it("relabels the image, removes the modules, and labels what was the agent's", async () => {
    const { status, stdout, stderr } = await policy("remove", "--relabel");
    assert.equal(status, 0, stderr + stdout);
    assert.match(stderr, /still rebuilding: \d+ s/);
    assert.equal(knowsTypes(), false);
    assert.equal(await typeOf(LEFT), "virt_image_t");
    assert.equal(await typeOf("/usr/sbin/svirt-agent"), "bin_t");
    assert.equal(await typeOf("/var/log/svirt-agent/audit.jsonl"), "var_log_t");
    assert.equal(await typeOf("/run/svirt-agent"), "var_run_t");
  });

  it("has nothing to do the second time", async () => {
    const { status, stdout, stderr } = await policy("remove");
    assert.equal(status, 0, stderr);
    assert.match(stdout, /^nothing to do/);
  });
});

describe("svirt-agent policy install where they are not", () => {
  it("--dry-run says what comes, and changes nothing", async () => {
    const was = await snapshot();
    const { status, stdout, stderr } = await policy("install", "--dry-run");
    assert.equal(status, 0, stderr);
    assert.match(stdout, /module svirt_agent [0-9a-f]{12} is installed, priority 400/);
    assert.match(stdout, /boolean virt_read_write_nfs comes, off/);
    assert.match(stdout, /label of \/usr\/sbin\/svirt-agent: bin_t becomes svirt_agent_exec_t/);
    assert.equal(await snapshot(), was);
  });

  it("leaves the store as it was when it is killed in the middle of the commit", async () => {
    const was = await snapshot();
    const install = await new Watched("install").reaching("still rebuilding");
    process.kill(transactionPid(), "SIGKILL");
    assert.equal(await install.ended, 3, install.output);
    assert.match(install.output, /ended by SIGKILL/);
    assert.equal(await snapshot(), was);
    assert.deepEqual(readdirSync(`${STORE}/modules/400`).filter((it) => it !== "svirt_lab"), []);
  });

  it("then does it all; Ctrl-C does not cut it short, another one is told to wait", async () => {
    const install = await new Watched("install").reaching("still rebuilding");
    const other = policy("install");
    install.signal("SIGINT");
    await install.reaching("SIGINT: finishing the commit");
    const { status, stdout, stderr } = await other;
    assert.equal(status, 3, stdout + stderr);
    assert.match(stderr, /hint: Another program changes the policy/);
    assert.equal(await install.ended, 130, install.output);
    assert.equal(knowsTypes(), true);
    assert.equal(await typeOf("/usr/sbin/svirt-agent"), "svirt_agent_exec_t");
    assert.equal(await typeOf("/var/log/svirt-agent/audit.jsonl"), "svirt_agent_log_t");
  });

  it("so that a guest attaches again", async () => {
    const guest = await makeGuest("web2", "ext4");
    const run = await new Run("web2", guest.file).running();
    assert.equal(await run.stop(), 0, run.output);
  });

  it("has nothing left to do", async () => {
    const { status, stdout, stderr } = await policy("install");
    assert.equal(status, 0, stderr);
    assert.match(stdout, /^nothing to do/);
  });
});
