/**
 * Disks that are full: the audit log's, where nothing is granted and everything can be taken away, and
 * the images', where a snapshot fails whole.
 *
 * @module
 */

import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { must, svirtAgent } from "./command.ts";
import { configured, refusesToRun } from "./left_alone.ts";
import {
  type GuestFile,
  makeBase,
  makeGuest,
  prepareHost,
  requireBytes,
  Run,
  STORAGE,
} from "./world.ts";

let web1: GuestFile;

before(async () => {
  await prepareHost("xfs");
  makeBase("ext4");
  makeBase("xfs");
  web1 = await makeGuest("web1", "ext4");
});

describe("an audit log on a disk that is full", () => {
  const folder = "/run/full-log";
  let options: readonly string[];
  let run: Run;

  before(async () => {
    mkdirSync(folder, { recursive: true });
    // busybox: mount(8) has a domain of its own, which may not mount there.
    const tmpfs = "size=256k,mode=700,rootcontext=system_u:object_r:svirt_agent_log_t:s0";
    await must("busybox", "mount", "-t", "tmpfs", "-o", tmpfs, "tmpfs", folder);
    options = await configured(
      "full",
      `folders = ["${STORAGE.ext4}"]\naudit = { folder = "${folder}" }\n`,
    );
    run = await new Run("web1", web1.file, {}, options).running();
    // All but the reserve that the agent keeps for revocations.
    await must(
      "sh",
      "-c",
      `dd if=/dev/zero of=${folder}/filler bs=1k 2>/dev/null; [ -s ${folder}/filler ]`,
    );
  });
  after(async () => {
    run.process.kill("SIGKILL");
    await run.ended;
    await must("busybox", "umount", folder);
  });

  it("grants nothing: exit 3, and nothing is done", async () => {
    const { file } = await makeGuest("web2", "ext4");
    await refusesToRun(web1, [...options, file], 3, /ENOSPC/, /nothing was granted/);
  });

  it("takes no snapshot, and the guest runs on", async () => {
    const before = readdirSync(STORAGE.ext4);
    const { status, stderr } = await svirtAgent("snapshot", "create", "web1", "root", ...options);
    assert.equal(status, 3, stderr);
    assert.match(stderr, /ENOSPC/);
    assert.deepEqual(readdirSync(STORAGE.ext4), before, "no overlay is made");
    assert.doesNotMatch(await run.io("root", "write -P 0x51 0 64k"), /fail|error|denied/i);
  });

  it("still records that a guest was stopped, and gives back what it had", async () => {
    const { status, stderr } = await svirtAgent("guest", "stop", "web1", ...options);
    assert.equal(status, 0, stderr);
    assert.equal(await run.ended, 0, run.output);
    const label = await must("stat", "-c", "%u %C", web1.root);
    assert.equal(label.trim(), "0 system_u:object_r:virt_image_t:s0");
    const verified = await svirtAgent("audit", "verify", `${folder}/audit.jsonl`);
    assert.equal(verified.status, 0, verified.stderr);
    const last = readFileSync(`${folder}/audit.jsonl`, "utf8").trimEnd().split("\n").at(-1)!;
    const { event, guest, result } = JSON.parse(last);
    assert.deepEqual([event, guest, result], ["outcome", "web1", "done"]);
  });
});

describe("a snapshot where the images' disk is full", () => {
  it("fails, leaves no overlay, and succeeds when there is room again", async () => {
    const guest = await makeGuest("web3", "xfs");
    const run = await new Run("web3", guest.file).running();
    const filler = `${STORAGE.xfs}/filler`;
    try {
      assert.doesNotMatch(await run.io("root", "write -P 0x61 0 64k"), /fail|error|denied/i);
      for (const size of ["1M", "4k"]) {
        await must(
          "sh",
          "-c",
          `dd if=/dev/zero bs=${size} oflag=append conv=notrunc 2>/dev/null >> ${filler}; true`,
        );
      }
      const before = readdirSync(STORAGE.xfs);
      const { status, stderr } = await svirtAgent("snapshot", "create", "web3", "root");
      assert.notEqual(status, 0, stderr);
      assert.match(stderr, /No space left on device|ENOSPC/);
      assert.deepEqual(readdirSync(STORAGE.xfs), before, "no overlay is left");
      rmSync(filler);
      const again = await svirtAgent("snapshot", "create", "web3", "root", "--json");
      assert.equal(again.status, 0, again.stderr);
      const [frozen] = JSON.parse(again.stdout).images;
      await requireBytes(run, "root", frozen.overlay, "0x61 0 64k");
    } finally {
      if (existsSync(filler)) rmSync(filler);
      assert.equal(await run.stop(), 0, run.output);
    }
  });
});
