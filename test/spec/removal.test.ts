import { after, before, describe, it } from "node:test";
import assert from "node:assert/strict";
import { constants, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AT_FDCWD, openat2 } from "../../ffi/libc.ts";
import { AF_UNIX, SOCK_STREAM, socket } from "../../ffi/libc_socket.ts";
import type { AttachedGuest, Removal } from "../../agent/attached_guest.ts";
import { remove, removeOld } from "../../agent/operation/removal.ts";
import { OwnedFd } from "../../agent/owned_fd.ts";
import { addFd } from "../../agent/qmp/fdset.ts";
import { Monitor } from "../../agent/qmp/monitor.ts";
import { fdsetBehaviour } from "../../agent/qmp/version.ts";
import { FakeQemu } from "../fakes/qemu.ts";
import { reactorAtRest } from "../fakes/socket_pair.ts";

let folder: string;
before(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), "removal-")));
  writeFileSync(join(folder, "image"), "0123456789");
});
after(reactorAtRest);
after(() => rmSync(folder, { recursive: true }));

type Prepared = Parameters<typeof removeOld>[2];

/** A guest whose QEMU is this very process, and has one image that a snapshot froze. */
async function world(version: readonly [number, number]) {
  const path = join(folder, "qmp");
  const image = join(folder, "image");
  const qemu = new FakeQemu(path, { version });
  const monitor = await Monitor.connect(new OwnedFd(socket(AF_UNIX, SOCK_STREAM), path), path);
  const how = { flags: constants.O_RDWR, resolve: 0n };
  using fd = new OwnedFd(openat2(AT_FDCWD, image, how), image);
  const passed = await addFd(monitor, 1, fd, "svirt-agent rw root");
  const { identity } = fd;
  const old = { identity, layer: { path: image }, passed: { rw: passed } };
  const attached = {
    qemu: { monitor, process: { pid: process.pid } },
    fdsets: fdsetBehaviour({ major: version[0], minor: version[1], micro: 0 }),
    removals: [],
  } as unknown as AttachedGuest;
  const problems: string[] = [];
  const attempt = async (work: () => Promise<unknown>) => {
    await work().catch((error: Error) => problems.push(error.message));
  };
  return {
    qemu,
    attached,
    identity,
    problems,
    removeOld: () => removeOld("op", attached, [{ old }] as unknown as Prepared, attempt),
    removal: { passed, frozen: { image: old, operation: "op" } } as unknown as Removal,
    cont: () => monitor.execute("cont"),
    [Symbol.dispose]() {
      monitor[Symbol.dispose]();
      qemu[Symbol.dispose]();
    },
  };
}

describe("the read-write descriptor of a frozen image", () => {
  for (const version of [[7, 2], [10, 0]] as const) {
    it(`is gone at once from a running QEMU ${version.join(".")}`, async () => {
      using it = await world(version);
      await it.cont();
      assert.deepEqual([...await it.removeOld()], []);
      assert.deepEqual([it.problems, it.attached.removals], [[], []]);
    });
  }

  it("is gone at once from a paused QEMU 10.0", async () => {
    using it = await world([10, 0]);
    assert.deepEqual([...await it.removeOld()], []);
    assert.deepEqual([it.problems, it.attached.removals], [[], []]);
  });

  it("is pending in a paused QEMU 7.2, and gone once that runs and is told again", async () => {
    using it = await world([7, 2]);
    assert.deepEqual([...await it.removeOld()], [it.identity]);
    assert.deepEqual(it.problems, []);
    const [removal] = it.attached.removals;
    assert.equal(await remove(it.attached, removal!), false);
    const { passed } = removal!;
    assert.equal(await remove(it.attached, { passed }), false, "by QEMU's list alone");
    await it.cont();
    assert.equal(await remove(it.attached, removal!), true);
  });

  it("is a problem, and not pending, where a QEMU that runs keeps it", async () => {
    using it = await world([7, 2]);
    await it.cont();
    // What it says of itself and what it does are two things.
    it.qemu.removesNothing = true;
    assert.deepEqual([...await it.removeOld()], []);
    assert.match(it.problems.join(), /QEMU keeps descriptor \d+ of ".*image"/);
  });

  it("is not gone because QEMU no longer lists it: /proc has to say so too", async () => {
    using it = await world([10, 0]);
    const [member] = it.qemu.fdsets.get(1)!;
    it.qemu.fdsets.delete(1);
    assert.equal(await remove(it.attached, it.removal), false);
    assert.match(readFileSync(`/proc/self/fdinfo/${member!.fd.number}`, "utf8"), /^flags:/m);
    member!.fd[Symbol.dispose]();
    assert.equal(await remove(it.attached, it.removal), true);
  });
});
