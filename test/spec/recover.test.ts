import assert from "node:assert/strict";
import { existsSync, renameSync } from "node:fs";
import { describe, it } from "node:test";
import type { Guest } from "../../agent/guest.ts";
import type { IntentEvent } from "../../agent/audit/event.ts";
import { grantImages } from "../../agent/grant/grant.ts";
import type { Folder } from "../../agent/image/folder.ts";
import type { Inspected } from "../../agent/image/inspect.ts";
import { labelFor } from "../../agent/label/assign.ts";
import { formatContext } from "../../agent/label/context.ts";
import { detach } from "../../agent/operation/detach.ts";
import { recover } from "../../agent/operation/recover.ts";
import { OwnedFd } from "../../agent/owned_fd.ts";
import { Turns } from "../../agent/operation/turns.ts";
import { undo } from "../../agent/operation/undo.ts";
import { cgroupOf } from "../../agent/process/cgroup.ts";
import { AT_FDCWD, openat2 } from "../../ffi/libc.ts";
import { guestOf, inspected } from "../fakes/guest.ts";
import { FakeHost, UNTOUCHED } from "../fakes/host.ts";

const CREDENTIAL = { uid: 64055, gid: 64055, groups: [] };
const DEAD = { pid: 2 ** 22 - 1, startTime: 1 };

/** Grants and labels, as an attach does up to its third step. */
function attachTo(guest: Guest, host: FakeHost): { operation: string; files: Inspected[] } {
  const files = inspected(guest, host);
  const { operation, level } = grantImages(guest, files, CREDENTIAL, cgroupOf(guest.name), host);
  for (const { identity, layer } of files) {
    host.selinux.labels.set(identity, labelFor(layer, level));
  }
  return { operation, files };
}

function done(operation: string, guest: string, host: FakeHost): void {
  host.log.append({ event: "outcome", operation, guest, result: "done" });
}

describe("an attach that failed", () => {
  it("leaves no label, no reserved level and no open intent behind", async () => {
    using host = new FakeHost();
    const path = host.file("web1.raw");
    const { operation, files } = attachTo(guestOf("web1", { path }), host);
    assert.match(host.label(files[0]!.identity), /svirt_fd_image_t:s0:c/);
    await undo(operation, host, new Error("QEMU died"));
    assert.equal(host.label(files[0]!.identity), formatContext(UNTOUCHED));
    assert.equal(host.log.state.levels.size, 0);
    assert.equal(host.log.state.intents.size, 0);
    assert.equal(host.log.state.references.size, 0);
  });

  it("undoes nothing a second time", async () => {
    using host = new FakeHost();
    const { operation } = attachTo(guestOf("web1", { path: host.file("web1.raw") }), host);
    await undo(operation, host, new Error("QEMU died"));
    assert.deepEqual(await undo(operation, host), []);
  });
});

describe("what a guest wrote to a transient image", () => {
  /** Records the overlay as the attach does, once it exists. */
  function withOverlay(host: FakeHost): { operation: string; overlay: string } {
    const { operation } = attachTo(guestOf("web1", { path: host.file("web1.raw") }), host);
    const overlay = host.file("web1.overlay.qcow2", "written");
    const { seq: _seq, time: _time, prev: _prev, hash: _hash, ...intent } = host.log.state.intents
      .get(operation)!;
    using fd = new OwnedFd(openat2(AT_FDCWD, overlay, { flags: 0, resolve: 0n }), overlay);
    const unlink = { kind: "unlink", path: overlay, identity: fd.identity } as const;
    host.log.append({ ...intent, undo: [...intent.undo, unlink] });
    return { operation, overlay };
  }

  it("goes when the attach fails", async () => {
    using host = new FakeHost();
    const { operation, overlay } = withOverlay(host);
    const did = await undo(operation, host, new Error("QEMU died"));
    assert.ok(!existsSync(overlay));
    assert.ok(did.includes(`removed ${overlay}`));
    assert.equal(host.log.state.temporary.size, 0);
  });

  it("goes when the guest is detached, and not with another guest", async () => {
    using host = new FakeHost();
    const { operation, overlay } = withOverlay(host);
    done(operation, "web1", host);
    assert.deepEqual(host.log.state.temporary.get("web1")?.map(({ path }) => path), [overlay]);
    await detach("web2", host);
    assert.ok(existsSync(overlay));
    await detach("web1", host);
    assert.ok(!existsSync(overlay));
    assert.equal(host.log.state.temporary.size, 0);
  });

  it("is left alone where another file has its name", async () => {
    using host = new FakeHost();
    const { operation, overlay } = withOverlay(host);
    done(operation, "web1", host);
    renameSync(overlay, `${overlay}.moved`);
    host.file("web1.overlay.qcow2", "somebody else's");
    const did = await detach("web1", host);
    assert.ok(did.includes(`${overlay} is another file now: left alone`));
    assert.ok(existsSync(overlay));
  });

  it("is a finding where it cannot be removed, and the log knows it until it can", async () => {
    using host = new FakeHost();
    const { operation, overlay } = withOverlay(host);
    done(operation, "web1", host);
    const [folder] = host.folders.splice(0) as [Folder];
    const did = await detach("web1", host);
    assert.ok(did.some((line) => line.startsWith(`could not remove the transient ${overlay}`)));
    assert.equal(host.log.state.temporary.size, 1);
    host.folders.push(folder);
    await detach("web1", host);
    assert.ok(!existsSync(overlay));
    assert.equal(host.log.state.temporary.size, 0);
  });
});

describe("a base that two guests share", () => {
  it("keeps its label until the last of them is detached, and then gets its own back", async () => {
    using host = new FakeHost();
    const base = { path: host.file("base.raw"), format: "raw", shared: true } as const;
    const guests = ["web1", "web2"].map((name) =>
      guestOf(name, { path: host.file(`${name}.qcow2`), format: "qcow2", backing: [base] })
    );
    const attached = guests.map((guest) => attachTo(guest, host));
    attached.forEach(({ operation }, i) => done(operation, guests[i]!.name, host));
    const { identity } = attached[0]!.files[1]!;
    await detach("web1", host);
    assert.equal(host.label(identity), "system_u:object_r:svirt_fd_ro_t:s0");
    await detach("web2", host);
    assert.equal(host.label(identity), formatContext(UNTOUCHED));
  });

  it("is not given back when the attach of one of them fails", async () => {
    using host = new FakeHost();
    const base = { path: host.file("base.raw"), format: "raw", shared: true } as const;
    const [one, two] = ["web1", "web2"].map((name) =>
      guestOf(name, { path: host.file(`${name}.qcow2`), format: "qcow2", backing: [base] })
    ) as [Guest, Guest];
    done(attachTo(one, host).operation, "web1", host);
    const { operation, files } = attachTo(two, host);
    await undo(operation, host, new Error("QEMU died"));
    assert.equal(host.label(files[1]!.identity), "system_u:object_r:svirt_fd_ro_t:s0");
    assert.equal(host.label(files[0]!.identity), formatContext(UNTOUCHED));
  });
});

describe("a grant is refused", () => {
  it("by name, for an image that another guest has", () => {
    using host = new FakeHost();
    const path = host.file("web1.raw");
    attachTo(guestOf("web1", { path }), host);
    assert.throws(() => attachTo(guestOf("web2", { path }), host), /web1/);
  });

  it("for a guest that is attached already", () => {
    using host = new FakeHost();
    const guest = guestOf("web1", { path: host.file("web1.raw") });
    done(attachTo(guest, host).operation, "web1", host);
    assert.throws(() => attachTo(guest, host), /guest web1 is attached already/);
  });

  it("and records nothing", () => {
    using host = new FakeHost();
    const path = host.file("web1.raw");
    attachTo(guestOf("web1", { path }), host);
    const levels = host.log.state.levels.size;
    assert.throws(() => attachTo(guestOf("web2", { path }), host));
    assert.equal(host.log.state.levels.size, levels);
  });
});

describe("a guest that ends while an operation is under way", () => {
  it("gets nothing back before that has ended, which may still label and own", async () => {
    using host = new FakeHost();
    const guest = guestOf("web1", { path: host.file("web1.raw") });
    const { operation, files: [image] } = attachTo(guest, host);
    done(operation, "web1", host);
    const turns = new Turns();
    const freezing = turns.take(async () => {
      await new Promise((resolve) => setTimeout(resolve, 10));
      host.selinux.labels.set(image!.identity, { ...UNTOUCHED, type: "svirt_fd_ro_t" });
    });
    await detach("web1", host, { turns });
    await freezing;
    assert.equal(host.label(image!.identity), formatContext(UNTOUCHED));
  });
});

describe("guest recover", () => {
  /** As a dead agent would have left it. */
  function interrupt(
    operation: "snapshot" | "detach",
    plan: unknown,
    host: FakeHost,
    undo: IntentEvent["undo"] = [],
  ): void {
    host.log.append({
      event: "intent",
      operation,
      id: `${operation}-1`,
      guest: "web1",
      agent: DEAD,
      undo,
      plan,
    });
  }

  function running(host: FakeHost): Inspected[] {
    const guest = guestOf("web1", { path: host.file("web1.raw", "x".repeat(512)) });
    const { operation, files } = attachTo(guest, host);
    done(operation, "web1", host);
    return files;
  }

  it("does nothing where there is nothing to recover", async () => {
    using host = new FakeHost();
    assert.deepEqual(await recover("web1", host, { stop: false }), []);
  });

  it("detaches a guest whose QEMU is gone", async () => {
    using host = new FakeHost();
    const [image] = running(host);
    await recover("web1", host, { stop: false });
    assert.equal(host.label(image!.identity), formatContext(UNTOUCHED));
    assert.equal(host.log.state.levels.size, 0);
  });

  it("leaves an operation alone whose agent lives", async () => {
    using host = new FakeHost();
    attachTo(guestOf("web1", { path: host.file("web1.raw") }), host);
    await assert.rejects(recover("web1", host, { stop: false }), /under way in process/);
  });

  it("finishes a detach that was cut short", async () => {
    using host = new FakeHost();
    const [image] = running(host);
    interrupt("detach", {}, host);
    await recover("web1", host, { stop: false });
    assert.equal(host.label(image!.identity), formatContext(UNTOUCHED));
    assert.equal(host.log.state.intents.size, 0);
  });

  it("counts a snapshot as taken when every overlay has its header", async () => {
    using host = new FakeHost();
    const [image] = running(host);
    const overlay = host.file("overlay.qcow2", qcow2Over(image!.layer.path));
    interrupt("snapshot", [{ freeze: image!.layer.path, overlay }], host);
    await recover("web1", host, { stop: false });
    assert.ok(existsSync(overlay));
    assert.equal(host.log.state.overlays.get(image!.layer.path), overlay);
    const again = guestOf("web1", { path: image!.layer.path });
    assert.throws(() => attachTo(again, host), /was frozen by a snapshot/);
  });

  it("never removes a file that another one was put in the place of", async () => {
    using host = new FakeHost();
    const [image] = running(host);
    const overlay = host.file("overlay.qcow2");
    const undo = [{ kind: "unlink", path: overlay, identity: "9:9:9" }] as const;
    interrupt("snapshot", [{ freeze: image!.layer.path, overlay }], host, undo);
    await recover("web1", host, { stop: false });
    assert.ok(existsSync(overlay));
  });

  it("removes overlays of a snapshot that had not got as far", async () => {
    using host = new FakeHost();
    const [image] = running(host);
    const overlay = host.file("overlay.qcow2");
    const undo = [{ kind: "unlink", path: overlay, identity: null }] as const;
    interrupt("snapshot", [{ freeze: image!.layer.path, overlay }], host, undo);
    await recover("web1", host, { stop: false });
    assert.ok(!existsSync(overlay));
    assert.equal(host.log.state.overlays.size, 0);
    assert.equal(host.log.state.intents.size, 0);
  });
});

/** The first cluster of a qcow2 version 2 file with a raw backing file. */
function qcow2Over(backing: string): Uint8Array {
  const bytes = new Uint8Array(65536);
  const view = new DataView(bytes.buffer);
  const name = new TextEncoder().encode(backing);
  view.setUint32(0, 0x514649fb); // QFI\xfb
  view.setUint32(4, 2);
  view.setBigUint64(8, 4096n); // backing_file_offset
  view.setUint32(16, name.length);
  view.setUint32(20, 16); // cluster_bits
  view.setBigUint64(24, 512n); // size
  bytes.set(name, 4096);
  return bytes;
}
