/**
 * A snapshot of a block device: the guest's own node is relabelled, and whoever kept a descriptor of it
 * writes no more.
 *
 * @module
 */

import assert from "node:assert/strict";
import { chmodSync, rmSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { parseContext } from "../../agent/label/context.ts";
import type { FrozenImage } from "../../agent/operation/freeze.ts";
import { descriptorsOf } from "../../agent/process/descriptor.ts";
import type { GuestVerdict } from "../../agent/verify/guest.ts";
import {
  ARGS,
  dev1,
  disk,
  FILES,
  guestOn,
  holds,
  IMAGES,
  linkTo,
  NODES,
  OVERLAY,
  prepareDevices,
  refused,
  requireClear,
} from "./block_world.ts";
import { must, svirtAgent } from "./command.ts";
import { Holder } from "./holder.ts";
import { judge } from "./hostile/judge.ts";
import { FROZEN_DEVICE } from "./hostile/table.ts";
import { logState, Run, USER, writeGuest } from "./world.ts";

before(prepareDevices);

describe("a guest that has taken over its QEMU, with a frozen block device,", () => {
  let run: Run, holder: Holder;
  let frozen: FrozenImage;
  before(async () => {
    run = await new Run("dev1", dev1).running();
  });
  after(async () => {
    holder?.[Symbol.dispose]();
    await run?.end();
  });

  it("is told where its overlay cannot be, and nothing is changed", async () => {
    const said = await svirtAgent("snapshot", "create", "dev1", "data");
    assert.equal(said.status, 1, said.stderr);
    assert.match(said.stderr, /is the block device .*cannot lie beside it/);
    assert.match(said.stderr, /hint: .*--overlay-in FOLDER/);
    const outside = await svirtAgent("snapshot", "create", "dev1", "data", "--overlay-in", "/tmp");
    assert.equal(outside.status, 2, outside.stderr);
    assert.match(outside.stderr, /lies in no allowed folder/);
    assert.equal(logState().intents.size, 0);
  });

  it("could write it before the snapshot, and cannot afterwards, in no way", async () => {
    await run.io("data", "write -P 0x11 1M 64k");
    const { verdict } = await run.call("Verify") as unknown as { verdict: GuestVerdict };
    holder = await Holder.start(verdict.context, USER);
    const heldBy = (path: string) =>
      descriptorsOf(verdict.pid).find((fd) => fd.path === path && fd.access === "rw")!.number;
    const names: Record<string, string | number> = {
      fd: await holder.take(verdict.pid, heldBy(`${NODES}/data`)),
      data: await holder.take(verdict.pid, heldBy(OVERLAY)),
      node: `${NODES}/data`,
      host: disk,
      writable: `system_u:object_r:svirt_fd_image_t:${parseContext(holder.context).level}`,
    };
    for (const way of ["rewrite", "dwrite"]) {
      assert.doesNotMatch(await holder.ask(`${way} ${names["fd"]} 0`), /^err/);
    }
    const created = await svirtAgent(
      ...["snapshot", "create", "dev1", "data", "--overlay-in", IMAGES, "--json"],
    );
    assert.equal(created.status, 0, created.stderr);
    [frozen] = JSON.parse(created.stdout).images;
    assert.equal(frozen.grade, "enforced (label)");

    const digest = async () => await must("sha256sum", `${FILES}/block-disk`);
    const untouched = await digest();
    // Not by their modes: what is asked is what SELinux says.
    chmodSync(disk, 0o666);
    chmodSync(NODES, 0o777);
    const attempts: Record<string, Awaited<ReturnType<Holder["attempt"]>>> = {};
    for (const { what, command } of FROZEN_DEVICE) {
      const words = command.replace(/\$([a-z]+)/g, (_, name) => String(names[name]));
      attempts[what] = await holder.attempt(words);
    }
    chmodSync(disk, 0o600);
    chmodSync(NODES, 0o711);
    const expected = Object.fromEntries(FROZEN_DEVICE.map(({ what, labels }) => [what, labels]));
    const said = await judge(attempts, expected, "dev1: hostile holder of a frozen block device");
    assert.deepEqual(said, expected);
    assert.equal(await digest(), untouched);
  });

  it("writes its overlay, whose backing file is the device", async () => {
    await run.io("data", "write -P 0x33 2M 64k");
    await holds(run, "data", frozen.overlay, "0x33 2M 64k", "0x11 1M 64k");
    const info = await must("qemu-img", "info", "-U", "--output=json", frozen.overlay);
    const { "backing-filename": backing, "virtual-size": size } = JSON.parse(info);
    assert.deepEqual([backing, size], [disk, 16 << 20]);
  });

  it("and a second snapshot lies beside the first overlay", async () => {
    const { status, stdout, stderr } = await svirtAgent(
      ...["snapshot", "create", "dev1", "data", "--json"],
    );
    assert.equal(status, 0, stderr);
    assert.match(JSON.parse(stdout).images[0].overlay, new RegExp(`^${IMAGES}/[^/]+\\.qcow2$`));
    rmSync(JSON.parse(stdout).images[0].overlay);
  });

  it("gives all of it back; the overlay is root's, as a new file there would be", async () => {
    holder[Symbol.dispose]();
    assert.equal(await run.stop(), 0, run.output);
    await requireClear();
    const overlay = await must("stat", "-c", "%U:%G %C", frozen.overlay);
    assert.equal(overlay.trim(), "root:root system_u:object_r:virt_image_t:s0");
  });

  it("and nobody gets the device below it to write, by whatever name", async () => {
    const below = [1, /was frozen by a snapshot, and .* stands on it/] as const;
    await refused(dev1, ...below);
    await refused(await guestOn("dev2", linkTo(disk, "frozen")), ...below);
    await requireClear();
  });

  it("and starts again from its overlay, whose device it then only reads", async () => {
    const chain = [{ path: disk, format: "raw" }];
    const file = await writeGuest("dev3", [
      { name: "data", path: frozen.overlay, format: "qcow2", backing: chain },
    ], ARGS);
    const again = run = await new Run("dev3", file).running();
    await again.io("data", "write -P 0x44 3M 64k");
    await holds(again, "data", frozen.overlay, "0x44 3M 64k", "0x33 2M 64k", "0x11 1M 64k");
    const { verdict } = await again.call("Verify") as unknown as { verdict: GuestVerdict };
    assert.equal(verdict.verdicts[1]!.grade, "enforced (label)");
    assert.equal(await again.stop(), 0, again.output);
    rmSync(frozen.overlay);
    await requireClear();
  });
});

describe("a whole SCSI disk", () => {
  let run: Run;
  after(() => run?.end());

  it("is frozen by QEMU's word alone, because SELinux sees no SCSI commands", async () => {
    const device = (await must("/usr/libexec/svirt-lab/loop", "--scsi")).trim();
    const file = await guestOn("scsi", device);
    const plan = await svirtAgent("run", "--dry-run", file);
    assert.match(plan.stdout, /^# a whole SCSI disk: /m);
    run = await new Run("scsi", file).running();
    assert.match(run.output, /a whole SCSI disk: .*SCSI commands, which SELinux does not see/);
    const { verdict } = await run.call("Verify") as unknown as { verdict: GuestVerdict };
    using holder = await Holder.start(verdict.context, USER);
    const held = descriptorsOf(verdict.pid).find(({ identity, access }) =>
      identity === verdict.verdicts[0]!.identity && access === "rw"
    )!;
    const fd = await holder.take(verdict.pid, held.number);
    const created = await svirtAgent(
      ...["snapshot", "create", "scsi", "data", "--overlay-in", IMAGES],
    );
    assert.equal(created.status, 0, created.stderr);
    assert.match(created.stdout, new RegExp(`${device} is frozen: cooperative$`, "m"));
    const [, overlay] = /guest now writes (\S+)/.exec(created.stdout)!;
    const write = await holder.attempt(`dwrite ${fd} 0`);
    // TEST UNIT READY; it could as well be WRITE.
    const scsi = await holder.attempt(`ioctl ${fd} 0x1`);
    const expected = { write: "EACCES te blk_file:write", "a SCSI command": "ok" };
    const said = await judge({ write, "a SCSI command": scsi }, expected, "scsi: hostile holder");
    assert.deepEqual(said, expected);
    const { stdout } = await svirtAgent("verify", "scsi");
    assert.match(stdout, /^data backing file 1 .* cooperative +ok /m);
    holder[Symbol.dispose]();
    assert.equal(await run.stop(), 0, run.output);
    rmSync(overlay!);
  });
});
