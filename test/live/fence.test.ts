/**
 * `fence = "owner"`: on NFS without labels the server keeps a guest from writing a frozen image, also
 * through a descriptor from before that a hostile holder kept.
 *
 * @module
 */

import assert from "node:assert/strict";
import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  copyFileSync,
  openSync,
  readFileSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { after, before, describe, it } from "node:test";
import type { FrozenImage } from "../../agent/operation/freeze.ts";
import type { GuestVerdict } from "../../agent/verify/guest.ts";
import { lookUpUser, withFilesystemCredential } from "../../ffi/libc_process.ts";
import { type FenceError, raiseFence, rewrite } from "../../agent/image/fence.ts";
import { Folder, openBeneath } from "../../agent/image/folder.ts";
import { cgroupOf, membersOf } from "../../agent/process/cgroup.ts";
import { descriptorsOf } from "../../agent/process/descriptor.ts";
import { avcsOf } from "./audit_log.ts";
import { must, svirtAgent } from "./command.ts";
import { Holder } from "./holder.ts";
import {
  delegate,
  type GuestFile,
  LOG,
  makeBase,
  makeGuest,
  prepareHost,
  requireBytes,
  Run,
  STORAGE,
  USER,
} from "./world.ts";

const qemuUser = lookUpUser(USER)!;

/** On the server's side, which no cache of the client stands before. */
function onServer(path: string): Promise<string> {
  return must("stat", "-c", "%u:%g %a", path.replace("/srv/", "/export/"));
}

before(async () => {
  await prepareHost();
  makeBase("nfs42");
});

describe("the credential rule", () => {
  const path = `${STORAGE.nfs42}/credential.raw`;
  let folder: Folder;
  before(() => {
    folder = Folder.open(STORAGE.nfs42);
    writeFileSync(path, new Uint8Array(8192));
    chmodSync(path, 0o600);
    chownSync(path, qemuUser.uid, qemuUser.gid);
  });
  after(() => folder[Symbol.dispose]());
  const open = () => openBeneath([folder], path, constants.O_RDWR);

  it("a descriptor that QEMU's user opened is refused by the server behind the fence", async () => {
    using fd = withFilesystemCredential(qemuUser, open);
    raiseFence(fd, qemuUser.uid, qemuUser);
    assert.equal(rewrite(fd), "EACCES");
    assert.equal((await onServer(path)).trim(), `0:${qemuUser.gid} 640`);
    chownSync(path, qemuUser.uid, qemuUser.gid);
    chmodSync(path, 0o600);
  });

  it("one that the server refuses already proves nothing, so no fence is raised", async () => {
    using fd = withFilesystemCredential(qemuUser, open);
    chownSync(path, 0, 0);
    assert.equal(rewrite(fd), "EACCES");
    assert.throws(() => raiseFence(fd, qemuUser.uid, qemuUser), /ended with EACCES before/);
    assert.equal((await onServer(path)).trim(), "0:0 600", "owner and mode are not changed");
    chownSync(path, qemuUser.uid, qemuUser.gid);
  });

  it("one whose size may be changed, by what another's open was delegated, is not fenced", async () => {
    const delegated = `${STORAGE.nfs42}/delegated.raw`;
    delegate(true);
    // As qemu-img does, run by root: for reading and writing, so that the server may delegate it.
    const made = openSync(delegated, "w+");
    writeSync(made, new Uint8Array(8192));
    closeSync(made);
    delegate(false);
    chownSync(delegated, qemuUser.uid, qemuUser.gid);
    const states = await must("sh", "-c", "cat /proc/fs/nfsd/clients/*/states");
    const isDelegated = /type: deleg, access: w,.*delegated\.raw/.test(states);
    // Linux does so since 6.6.
    assert.equal(isDelegated, process.env["LAB_RELEASE"] !== "12", states);
    using fd = withFilesystemCredential(
      qemuUser,
      () => openBeneath([folder], delegated, constants.O_RDWR),
    );
    const raise = () => raiseFence(fd, qemuUser.uid, qemuUser);
    if (isDelegated) {
      assert.throws(raise, (error: FenceError) => {
        assert.match(error.message, /refuses writes, and lets its size be changed/);
        assert.match(error.hint, /fs\.leases-enable=0/);
        return true;
      });
      const asItWas = `${qemuUser.uid}:${qemuUser.gid} 644 8192`;
      const now = await must("stat", "-c", "%u:%g %a %s", delegated.replace("/srv/", "/export/"));
      assert.equal(now.trim(), asItWas);
    } else raise();
  });

  it("one that root opened writes through any fence, so none is raised", async () => {
    using fd = open();
    assert.throws(() => raiseFence(fd, 0, qemuUser), /was opened by uid 0, not by QEMU's/);
    // Told a lie about who opened it, what the server does decides.
    assert.throws(() => raiseFence(fd, qemuUser.uid, qemuUser), /a write ended with allowed/);
    assert.equal((await onServer(path)).trim(), `${qemuUser.uid}:${qemuUser.gid} 600`);
  });
});

describe('a guest with fence = "owner" on nfs42', () => {
  let guest: GuestFile;
  let run: Run;
  let image: FrozenImage;
  let holder: Holder;
  let kept: number;
  let asBefore: string;

  before(async () => {
    guest = await makeGuest("web1", "nfs42", "owner");
    chmodSync(guest.root, 0o660);
    await must("setfacl", "-m", "u:1234:rw", guest.root.replace("/srv/", "/export/"));
    asBefore = await acl();
    run = await new Run("web1", guest.file).running();
    const { verdict } = await run.call("Verify") as unknown as { verdict: GuestVerdict };
    const { identity } = verdict.verdicts.find(({ path }) => path === guest.root)!;
    const rw = descriptorsOf(verdict.pid).find((fd) =>
      fd.identity === identity && fd.access === "rw"
    );
    holder = await Holder.start(verdict.context, USER);
    kept = await holder.take(verdict.pid, rw!.number);
    assert.equal(await holder.ask(`dwrite ${kept} 0`), "4096", "it could write before");
  });
  after(() => {
    holder[Symbol.dispose]();
    run.process.kill("SIGKILL");
  });

  async function acl(): Promise<string> {
    return await must("getfacl", "-pn", guest.root.replace("/srv/", "/export/"));
  }

  it("has its image frozen by the server, which says no to a write: enforced (server)", async () => {
    const { status, stdout, stderr } = await svirtAgent(
      "snapshot",
      "create",
      "web1",
      "root",
      "--json",
    );
    assert.equal(status, 0, stderr);
    [image] = JSON.parse(stdout).images;
    assert.deepEqual(image.problems, []);
    assert.equal(image.grade, "enforced (server)");
    assert.deepEqual(image.verdict?.verdict.write, { answer: "denied", by: "server" });
    assert.equal((await onServer(guest.root)).trim(), `0:${qemuUser.gid} 640`);
  });

  it("that kept a descriptor writes nothing through it, and reads on", async () => {
    assert.equal(await holder.ask(`dwrite ${kept} 0`), "err EACCES");
    assert.match(await holder.ask(`read ${kept} 0 4`), /^514649fb$/);
    const avcs = await avcsOf(holder.pid, ({ tclass }) => tclass === "file", 500);
    assert.deepEqual(avcs, [], "it was the server, not SELinux");
    // A process with the guest's categories that is not its QEMU is a finding, too.
    holder[Symbol.dispose]();
  });

  it("goes on writing its overlay and reading the frozen image", async () => {
    await run.io("root", "write -P 0x44 0 64k");
    await requireBytes(run, "root", image.overlay, "0x44 0 64k", "0xba 8M 64k");
  });

  it("is not as expected any longer when somebody gives the image back to QEMU's user", async () => {
    chownSync(guest.root, qemuUser.uid, qemuUser.gid);
    const { status, stdout } = await svirtAgent("verify", "web1", "--json");
    assert.equal(status, 1, stdout);
    const verdict = JSON.parse(stdout).guests[0].verdicts.find(
      ({ path }: { path: string }) => path === guest.root,
    );
    assert.deepEqual(verdict.verdict.write, { answer: "allowed", by: "server" });
    assert.equal(verdict.grade, undefined);
    chownSync(guest.root, 0, qemuUser.gid);
    const again = await svirtAgent("verify", "web1");
    assert.equal(again.status, 0, again.stdout);
  });

  it("is refused `image restore` while it runs", async () => {
    const { status, stderr } = await svirtAgent(
      "image",
      "restore",
      guest.root,
      "--from-audit",
      LOG,
    );
    assert.equal(status, 1);
    assert.match(stderr, /guest web1 of this host has/);
  });

  it("leaves owner, mode and ACL as they were when it is stopped", async () => {
    assert.equal(await run.stop(), 0, run.output);
    assert.equal(await acl(), asBefore);
  });
});

describe("a host that died with a fence up", () => {
  let guest: GuestFile;
  const copy = "/var/log/svirt-agent/other-host.jsonl";
  const own = "/run/other-log";
  let config: string;

  before(async () => {
    guest = await makeGuest("web2", "nfs42", "owner");
    const died = new Run("web2", guest.file, { SVIRT_TEST_DIE_AFTER: "snapshot:relabel" });
    await died.running();
    died.call("SnapshotCreate", { images: ["root"] }).catch(() => {});
    assert.equal(await died.ended, 137, died.output);
    assert.equal((await onServer(guest.root)).trim(), `0:${qemuUser.gid} 640`);
    copyFileSync(LOG, copy);
    // What another host would have: its own log, and the storage.
    await must("mkdir", "-p", own);
    await must("chcon", "-t", "svirt_agent_log_t", own);
    config = "/etc/svirt-agent/other.toml";
    const settings = readFileSync("/etc/svirt-agent/agent.toml", "utf8");
    writeFileSync(config, `${settings}audit = { folder = "${own}" }\n`);
    await must("restorecon", config, copy);
  });

  const restore = (...options: string[]) =>
    svirtAgent("image", "restore", guest.root, "--config", config, ...options);

  it("is left alone while its QEMU still holds the image's lock", async () => {
    const { status, stderr } = await restore("--from-audit", copy);
    assert.equal(status, 2);
    assert.match(stderr, /is in use: another program uses it/);
  });

  it("gets owner and mode back from its log, on any host", async () => {
    for (const pid of membersOf(cgroupOf("web2"))) process.kill(pid, "SIGKILL");
    const dry = await restore("--from-audit", copy, "--dry-run");
    assert.match(dry.stdout, /owner of .*web2\.qcow2: 0:0 0600/);
    assert.equal((await onServer(guest.root)).trim(), `0:${qemuUser.gid} 640`);
    const { status, stdout, stderr } = await restore("--from-audit", copy);
    assert.equal(status, 0, stderr);
    assert.match(stdout, /owner of .*web2\.qcow2 is 0:0 0600 again/);
    assert.equal((await onServer(guest.root)).trim(), "0:0 600");
    assert.match(readFileSync(`${own}/audit.jsonl`, "utf8"), /"operation":"restore"/);
  });

  it("asks for the log, and refuses one that was changed", async () => {
    assert.match((await restore()).stderr, /--from-audit FILE/);
    const text = readFileSync(copy, "utf8");
    writeFileSync(copy, text.replace('"result":"done"', '"result":"dont"'));
    const { status, stderr } = await restore("--from-audit", copy);
    assert.equal(status, 1);
    assert.match(stderr, /was changed after it was written/);
  });

  it("recovers the rest of the guest by itself, and nothing is lost by doing it twice", async () => {
    const { status, stdout, stderr } = await svirtAgent("guest", "recover", "web2", "--stop");
    assert.equal(status, 0, stderr);
    assert.match(stdout, /web2/);
    assert.equal((await onServer(guest.root)).trim(), "0:0 600");
    await must("qemu-io", "-f", "qcow2", "-c", "write 0 512", guest.root);
  });
});
