/**
 * A descriptor that SELinux drops on its way to QEMU: the kernel says nothing to whoever passed it, so
 * the agent has to find out, name what the policy lacks, and undo the attach.
 *
 * @module
 */

import assert from "node:assert/strict";
import { constants, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import type { Guest } from "../../agent/guest.ts";
import { Folder, openBeneath } from "../../agent/image/folder.ts";
import { inspectLayer } from "../../agent/image/inspect.ts";
import { layersOf } from "../../agent/image/layer.ts";
import { guestContext } from "../../agent/label/domain.ts";
import type { Context } from "../../agent/label/context.ts";
import { kernel } from "../../agent/label/selinux.ts";
import { livePolicy } from "../../agent/policy/live.ts";
import { removeCgroup } from "../../agent/process/cgroup.ts";
import { type Place, placeOf } from "../../agent/process/place.ts";
import { guestCommand, startQemu } from "../../agent/process/start.ts";
import type { Qemu } from "../../agent/process/qemu.ts";
import { type Passed, passImage } from "../../agent/qmp/pass.ts";
import { missingToReceive } from "../../agent/verify/missing.ts";
import { lookUpUser } from "../../ffi/libc_process.ts";
import { avcsOf } from "./audit_log.ts";
import { must } from "./command.ts";
import { claim, logState, makeBase, makeGuest, prepareHost, Run, STORAGE, USER } from "./world.ts";

const LEVEL = "s0:c1,c2";
/** The domain of guests whose code is translated, on Debian. */
const DOMAIN = "svirt_prot_exec_t";

before(() => prepareHost());

describe("a descriptor passed to a QEMU in a guest's context", () => {
  const runtimeFolder = "/run/dropped";
  const path = `${STORAGE.ext4}/dropped.raw`;
  const guest: Guest = {
    name: "dropped",
    file: "",
    images: [{
      name: "data",
      path,
      format: "raw",
      access: "rw",
      cache: "writeback",
      device: "virtio-blk-pci",
      shared: false,
      transient: false,
      backing: [],
    }],
    qemu: {
      binary: "qemu-system-x86_64",
      args: ["-machine", "none", "-display", "none"],
      user: USER,
      accelerator: "tcg",
    },
  };
  let place: Place;
  let context: Context;
  let qemu: Qemu;

  before(async () => {
    writeFileSync(path, new Uint8Array(4096));
    context = guestContext("tcg", LEVEL, kernel);
    assert.equal(context.type, DOMAIN);
    place = placeOf("dropped", { runtimeFolder });
    mkdirSync(place.folder, { recursive: true });
    // Its arguments alone: no port for the image.
    const bare = guestCommand({ ...guest, images: [] });
    qemu = await startQemu(bare, lookUpUser(USER)!, context, place, kernel);
  });

  after(async () => {
    await qemu.monitor.execute("quit").catch(() => {});
    await qemu.process.ended;
    qemu[Symbol.dispose]();
    removeCgroup(place.cgroup);
    rmSync(runtimeFolder, { recursive: true });
    rmSync(path);
  });

  /** Passes the file read-only and read-write, as its label is. */
  async function pass(): Promise<Passed> {
    using folder = Folder.open(STORAGE.ext4);
    const found = inspectLayer(layersOf(guest)[0]!, [folder], kernel);
    using ro = openBeneath([folder], path, constants.O_RDONLY);
    using rw = openBeneath([folder], path, constants.O_RDWR);
    const image = { ...found, ro, rw, openedAs: 0, locked: rw, [Symbol.dispose]() {} };
    const host = { selinux: kernel, policy: livePolicy };
    return await passImage(
      qemu,
      image,
      (access) => missingToReceive(context, found.label!, access, host),
    );
  }

  for (
    const [what, type, level, denied] of [
      ["of a frozen image, for writing", "svirt_fd_ro_t", LEVEL, "write"],
      ["of another guest's image", "svirt_fd_image_t", "s0:c3,c4", "read"],
      ["of a file that nobody labelled for guests", "virt_image_t", "s0", "read"],
    ] as const
  ) {
    it(`${what}, is dropped, and the missing ${denied} is named`, async () => {
      await must("chcon", `system_u:object_r:${type}:${level}`, path);
      await assert.rejects(pass(), {
        name: "DroppedError",
        message: `"${path}": the kernel dropped the descriptor on its way to the guest: ` +
          `the policy lacks ${DOMAIN} ${type}:file { ${denied} }`,
        hint: /ausearch -m AVC/,
      });
      const avcs = await avcsOf(qemu.process.pid, ({ tcontext }) => tcontext.includes(`:${type}:`));
      claim(avcs.map(({ serial }) => serial), `dropped: ${what}`);
      assert.deepEqual(avcs[0]?.denied, [denied], "the kernel's record says the same");
    });
  }

  it("arrives where the label is the guest's own", async () => {
    await must("chcon", `system_u:object_r:svirt_fd_image_t:${LEVEL}`, path);
    const { ro, rw } = await pass();
    assert.ok(ro.number > 2 && rw!.number > 2);
  });
});

describe("a policy that changes while a guest is being attached", () => {
  it("is named, with 1, and what was done is undone", async () => {
    makeBase("nfs42");
    const guest = await makeGuest("nfs1", "nfs42");
    const paths = [guest.root, guest.data, guest.base];
    const asBefore = await must("stat", "-c", "%n %u:%g %a %C", ...paths);
    const run = new Run(guest.name, guest.file);
    // Held where the storage was found closed and usable, and nothing has been passed yet.
    await run.reaching("attach: label");
    run.process.kill("SIGSTOP");
    await must("setsebool", "virt_read_write_nfs", "off");
    run.process.kill("SIGCONT");
    try {
      assert.equal(await run.ended, 1, run.output);
    } finally {
      await must("setsebool", "virt_read_write_nfs", "on");
    }
    assert.match(run.output, /nfs1\.qcow2": the kernel dropped the descriptor/);
    assert.match(run.output, new RegExp(`the policy lacks ${DOMAIN} nfs_t:file \\{ read \\}`));
    assert.equal(await must("stat", "-c", "%n %u:%g %a %C", ...paths), asBefore);
    const { levels, grants, intents } = logState();
    assert.deepEqual([levels.size, grants.size, intents.size], [0, 0, 0]);
    const avcs = await avcsOf(
      "any",
      ({ tcontext, scontext }) => tcontext.includes(":nfs_t:") && scontext.includes(`:${DOMAIN}:`),
    );
    claim(avcs.map(({ serial }) => serial), "dropped: the boolean went off during the attach");
    assert.deepEqual(avcs[0]?.denied, ["read"]);
  });
});
