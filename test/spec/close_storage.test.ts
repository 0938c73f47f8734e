import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { classify, type StorageClass } from "../../agent/label/mount.ts";
import { closeStorage } from "../../agent/operation/close_storage.ts";
import { FakeHost } from "../fakes/host.ts";

const mount = { id: 1n, device: "0:1", mountPoint: "/srv", source: "nas:/", options: ["rw"] };
const NFS: StorageClass = classify({ ...mount, fsType: "nfs4" });
const EXT4: StorageClass = classify({ ...mount, fsType: "ext4", options: ["rw", "seclabel"] });

function booleanEvents(host: FakeHost): { name: string; from: boolean; to: boolean }[] {
  return readFileSync(host.log.path, "utf8").split("\n").filter(Boolean)
    .map((line) => JSON.parse(line)).filter(({ event }) => event === "boolean");
}

describe("closing storage for a guest", () => {
  it("switches its boolean off, once for all images there", () => {
    using host = new FakeHost();
    host.on.add("virt_use_nfs");
    const told: string[] = [];
    closeStorage([NFS, EXT4, NFS], host, ({ name }) => told.push(name));
    assert.deepEqual(told, ["virt_use_nfs"]);
    assert.equal(host.on.has("virt_use_nfs"), false);
    const [event, ...more] = booleanEvents(host);
    assert.deepEqual([event?.name, event?.from, event?.to], ["virt_use_nfs", true, false]);
    assert.deepEqual(more, []);
  });

  it("touches no boolean that nothing of the guest rests on", () => {
    using host = new FakeHost();
    host.on.add("virt_use_nfs").add("virt_use_samba");
    closeStorage([EXT4], host, () => assert.fail("told of one"));
    assert.deepEqual([...host.on], ["virt_use_nfs", "virt_use_samba"]);
  });

  it("is on record before it is done", () => {
    using host = new FakeHost();
    host.on.add("virt_use_nfs");
    host.booleans.write = () => assert.equal(booleanEvents(host).length, 1);
    closeStorage([NFS], host, () => {});
  });

  it("says in the log when it could not be done", () => {
    using host = new FakeHost();
    host.on.add("virt_use_nfs");
    host.booleans.write = () => {
      throw new Error("EACCES");
    };
    assert.throws(() => closeStorage([NFS], host, () => {}), /EACCES/);
    assert.deepEqual(booleanEvents(host).map(({ to }) => to), [false, true]);
  });
});
