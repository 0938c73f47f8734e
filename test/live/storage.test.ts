/**
 * Every kind of storage that the lab has: what the agent promises there, and what the kernel says to
 * a guest that has taken its QEMU over.
 *
 * @module
 */

import assert from "node:assert/strict";
import { constants } from "node:fs";
import { after, before, describe, it } from "node:test";
import { AT_FDCWD, openat2 } from "../../ffi/libc.ts";
import { classify, mountOf } from "../../agent/label/mount.ts";
import { OwnedFd } from "../../agent/owned_fd.ts";
import { must, svirtAgent } from "./command.ts";
import { attached } from "./show/attached.ts";
import type { Check } from "./show/check.ts";
import { frozen } from "./show/frozen.ts";
import {
  type GuestFile,
  makeBase,
  makeGuest,
  prepareHost,
  Run,
  STORAGE,
  type Storage,
  USER,
} from "./world.ts";

const BY_LABEL = {
  openDeniedBy: "type",
  grade: "enforced (label)",
  heldWrite: "err EACCES",
} as const;
const BY_BOOLEAN = {
  openDeniedBy: "virt_use_nfs",
  grade: "cooperative",
  // Nothing stops whoever kept the read-write descriptor from before.
  heldWrite: "4096",
} as const;

const TABLE = {
  ext4: { fsType: "ext4", ...BY_LABEL },
  xfs: { fsType: "xfs", ...BY_LABEL },
  nfs42sec: { fsType: "nfs4", ...BY_LABEL },
  nfs42: { fsType: "nfs4", ...BY_BOOLEAN },
  nfs42squash: { fsType: "nfs4", ...BY_BOOLEAN },
  nfs3: { fsType: "nfs", ...BY_BOOLEAN },
} as const satisfies Record<Storage, unknown>;

function requireAllExpected(checks: readonly Check[]): void {
  for (const check of checks) {
    assert.ok(check.asExpected, JSON.stringify(check, null, 1));
  }
}

for (const storage of Object.keys(TABLE) as Storage[]) {
  const { fsType, openDeniedBy, grade, heldWrite } = TABLE[storage];

  describe(`an image on ${storage}`, () => {
    let guest: GuestFile, other: GuestFile;
    let run: Run;
    let asBefore: string;
    let rows: Check[];

    const files = () => must("stat", "-c", "%n %u:%g %a %C", guest.root, guest.data, guest.base);

    before(async () => {
      await prepareHost(storage);
      makeBase(storage);
      guest = await makeGuest("web1", storage);
      other = await makeGuest("web2", storage);
      // Not by its mode: what is asked is what SELinux says.
      for (const path of [other.root, other.data]) {
        if (storage !== "nfs42squash") await must("chown", `${USER}:${USER}`, path);
      }
      asBefore = await files();
      run = await new Run(guest.name, guest.file).running();
    });

    after(() => run.process.kill("SIGKILL"));

    it(`is known as ${fsType}, where open is denied by ${openDeniedBy}: ${grade}`, () => {
      const folder = STORAGE[storage];
      using fd = new OwnedFd(
        openat2(AT_FDCWD, folder, { flags: constants.O_RDONLY, resolve: 0n }),
        folder,
      );
      const found = classify(mountOf(fd));
      assert.equal(found.fsType, fsType);
      assert.equal(found.boolean ?? found.openDeniedBy, openDeniedBy);
      assert.equal(found.grade, grade);
      assert.equal(found.refused, undefined);
      assert.deepEqual(found.findings, []);
    });

    it("can be used and not opened, by QEMU's own word and the kernel's", async () => {
      rows = await attached(run, guest, other);
      assert.ok(rows.length >= 5);
      requireAllExpected(rows);
    });

    it(`is ${grade} once a snapshot froze it; a descriptor that was kept: ${heldWrite}`, async () => {
      rows = await frozen(run, guest);
      requireAllExpected(rows);
      const [byAgent, hostile] = rows as [Check, Check];
      assert.equal(byAgent.grade, grade);
      const said = hostile.witnesses.guest?.find((line) => line.startsWith("dwrite "));
      assert.equal(said?.replace(/^dwrite \d+ \d+: /, ""), heldWrite);
    });

    it("is given back with the label and owner it had", async () => {
      assert.equal(await run.stop(), 0, run.output);
      assert.equal(await files(), asBefore);
      const { stdout } = await svirtAgent("guest", "list", "--json");
      assert.deepEqual(JSON.parse(stdout).guests, []);
    });
  });
}
