/**
 * Images on block devices: a guest has each through a device node of its own, the host's own node is
 * never changed, and nobody else gets the device meanwhile.
 *
 * @module
 */

import assert from "node:assert/strict";
import { mkdirSync, readFileSync, renameSync, rmSync, statfsSync, symlinkSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import type { Avc } from "../../agent/audit/avc.ts";
import { parseContext } from "../../agent/label/context.ts";
import type { GuestVerdict } from "../../agent/verify/guest.ts";
import type { Attempt } from "../../agent/verify/through_guest.ts";
import { avcsOf } from "./audit_log.ts";
import {
  ALL_NODES,
  asBefore,
  base,
  dev1,
  disk,
  FILES,
  guestOn,
  holds,
  hostNodes,
  linkTo,
  NODES,
  OVERLAY,
  prepareDevices,
  refused,
  requireClear,
} from "./block_world.ts";
import { command, must } from "./command.ts";
import { claim, Run } from "./world.ts";

before(prepareDevices);

/** Makes another node of a device, with the host's label. */
async function makeNode(path: string, device: string): Promise<void> {
  const number = await must("stat", "-c", "%t %T", device);
  const decimal = number.trim().split(" ").map((hex) => String(parseInt(hex, 16)));
  await must("busybox", "mknod", path, "b", ...decimal);
  await must("chcon", "-t", "fixed_disk_device_t", path);
}

describe("a guest with block devices", () => {
  let run: Run;
  before(async () => {
    run = await new Run("dev1", dev1).running();
  });
  after(() => run?.end());

  it("writes to its device, zeroes too, and reads the base below its overlay", async () => {
    await run.io("data", "write -P 0x11 1M 192k");
    await run.io("data", "write -z 1088k 64k");
    await run.io("root", "write -P 0x22 1M 64k");
    await run.io("data", "flush");
    await holds(run, "root", OVERLAY, "0x22 1M 64k", "0xba 4M 64k");
    const bytes = readFileSync(`${FILES}/block-disk`).subarray(1 << 20);
    assert.deepEqual([...bytes.subarray(0, 3)], [0x11, 0x11, 0x11]);
    assert.deepEqual([...bytes.subarray(65536, 65539)], [0, 0, 0]);
    assert.deepEqual([...bytes.subarray(131072, 131075)], [0x11, 0x11, 0x11]);
  });

  it("has nodes of its own, labelled for it, and the host's are as they were", async () => {
    assert.equal(await hostNodes(), asBefore);
    const { verdict } = await run.call("Verify") as unknown as { verdict: GuestVerdict };
    assert.ok(verdict.asExpected, JSON.stringify(verdict, null, 1));
    assert.deepEqual(
      verdict.verdicts.map(({ image, label, grade }) => [image, parseContext(label).type, grade]),
      [
        ["data", "svirt_fd_image_t", undefined],
        ["root", "svirt_fd_image_t", undefined],
        ["root backing file 1", "svirt_fd_ro_t", "enforced (label)"],
      ],
    );
  });

  it("can use what it was handed, and open neither the node nor the descriptor again", async () => {
    const reply = await run.call("Verify", { throughGuest: true, others: [] });
    const attempts = reply["attempts"] as Attempt[];
    claim(attempts.flatMap(({ avc }) => avc?.serial ?? []), "dev1: through the guest");
    assert.equal(attempts.length, 9);
    for (const attempt of attempts) assert.ok(attempt.asExpected, JSON.stringify(attempt));
  });

  it("shares the base with a guest that reads it", async () => {
    // By a name as LVM and udev make them.
    const link = linkTo(base, "base");
    const other = await new Run("dev2", await guestOn("dev2", link, { access: "ro", shared: true }))
      .running();
    try {
      await other.io("data", "read -P 0xba 0 64k");
    } finally {
      assert.equal(await other.stop(), 0, other.output);
    }
  });

  describe("keeps its device from everybody else:", () => {
    const NOT_TWICE = [/dev1 \(image data\) may write it/, /hint: /];

    it("a second guest", async () => {
      await refused(await guestOn("dev2", disk), 1, ...NOT_TWICE);
    });

    it("a second guest by another node of the same device", async () => {
      await makeNode("/dev/copy", disk);
      await refused(await guestOn("dev2", "/dev/copy"), 1, ...NOT_TWICE);
      rmSync("/dev/copy");
    });

    it("a second guest by a symbolic link to it", async () => {
      await refused(await guestOn("dev2", linkTo(disk, "disk")), 1, ...NOT_TWICE);
    });

    it("a second guest by the node that dev1 has", async () => {
      await refused(await guestOn("dev2", `${NODES}/data`), 1, ...NOT_TWICE);
    });

    it("a second guest with a partition of it", async () => {
      await refused(await guestOn("dev2", `${disk}p1`), 2, /is in use/, /hint: .*lsblk/);
    });

    it("mount(8) and qemu-io", async () => {
      const mount = await command("busybox", ["mount", "-t", "ext4", disk, "/mnt"]);
      assert.match(mount.stderr, /busy/);
      const write = await command("qemu-io", ["-f", "raw", "-c", "write 0 512", disk]);
      assert.match(write.stderr, /Failed to get .*lock/);
      assert.match(await must("qemu-img", "info", "-f", "raw", disk), /virtual size: 16 MiB/);
    });
  });

  it("leaves no node behind, also when the agent may use no devices any more", async () => {
    await must("setsebool", "svirt_agent_use_devices", "off");
    assert.equal(await run.stop(), 0, run.output);
    await must("setsebool", "svirt_agent_use_devices", "on");
    await requireClear();
  });
});

describe("a device that cannot be attached is refused with what to do:", () => {
  it("one that the host has mounted", async () => {
    await must("/usr/libexec/svirt-lab/storage", "xfs");
    const mounts = readFileSync("/proc/mounts", "utf8").split("\n").map((line) => line.split(" "));
    const device = mounts.find(([, on]) => on === "/srv/xfs")![0]!;
    for (const more of [{}, { access: "ro", shared: true }]) {
      await refused(
        await guestOn("dev2", device, more),
        2,
        /is in use: .*mounted/,
        /hint: .*lsblk/,
      );
    }
  });

  it("a symbolic link where others than root may make one", async () => {
    symlinkSync(disk, "/dev/shm/link");
    await refused(await guestOn("dev2", "/dev/shm/link"), 2, /ELOOP[^]*hint: .*symbolic link/);
    rmSync("/dev/shm/link");
  });

  it("a transient image", async () => {
    const file = await guestOn("dev2", disk, { transient: true });
    await refused(file, 2, /is a block device, and its image transient/, /hint: .*overlay/);
  });

  it("without CAP_MKNOD", async () => {
    const file = await guestOn("dev2", disk);
    const said = await command("setpriv", [
      ...["--bounding-set", "-mknod", "/usr/sbin/svirt-agent", "run", file],
    ]);
    assert.equal(said.status, 3, said.stderr);
    assert.match(said.stderr, /mknodat .*EPERM[^]*hint: .*CAP_MKNOD/);
  });

  it("where a node of another device is left that nobody knows of, until it is gone", async () => {
    const file = await guestOn("dev2", disk);
    const left = `${ALL_NODES}/dev2/data`;
    mkdirSync(`${ALL_NODES}/dev2`, { mode: 0o711 });
    await makeNode("/dev/left", base);
    renameSync("/dev/left", left);
    for (const _ of ["left alone", "again"]) {
      await refused(file, 3, /EEXIST[^]*hint: It was left there/, new RegExp(`rm ${left}`));
    }
    rmSync(left);
    const run = await new Run("dev2", file).running();
    assert.equal(await run.stop(), 0, run.output);
  });

  it("while /dev is full", async () => {
    const { files, ffree } = statfsSync("/dev");
    const limit = (inodes: number) =>
      must("busybox", "mount", "-o", `remount,nr_inodes=${inodes}`, "/dev");
    // Room for the guest's folder, and no more.
    await limit(files - ffree + 1);
    try {
      await refused(await guestOn("dev2", disk), 3, /ENOSPC[^]*hint: \/dev is full: df/);
    } finally {
      await limit(files);
    }
  });

  it("while svirt_agent_use_devices is off", async () => {
    await must("setsebool", "svirt_agent_use_devices", "off");
    const file = await guestOn("dev2", disk);
    await refused(file, 3, /EACCES/, /hint: .*setsebool -P svirt_agent_use_devices on/);
    const isDisk = (avc: Avc) =>
      avc.tclass === "blk_file" && avc.scontext.includes("svirt_agent_t");
    const denials = await avcsOf("any", isDisk);
    assert.ok(denials.length > 0);
    claim(denials.map(({ serial }) => serial), "svirt_agent_use_devices is off");
    await must("setsebool", "svirt_agent_use_devices", "on");
  });

  it("and nothing is left of any of them", requireClear);
});
