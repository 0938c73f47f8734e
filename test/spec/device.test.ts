import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { constants as os, tmpdir } from "node:os";
import {
  constants,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { SystemError } from "../../ffi/errno.ts";
import type { Statx } from "../../ffi/libc.ts";
import type { AttachedImage } from "../../agent/attached_guest.ts";
import { grantImages } from "../../agent/grant/grant.ts";
import type { Guest } from "../../agent/guest.ts";
import { openBeneath } from "../../agent/image/folder.ts";
import { claim } from "../../agent/image/claim.ts";
import type { Inspected } from "../../agent/image/inspect.ts";
import { layersOf } from "../../agent/image/layer.ts";
import { isDevice, privateNodeOf, removePrivateNode } from "../../agent/image/private_node.ts";
import { classOf } from "../../agent/label/assign.ts";
import { planOverlay } from "../../agent/operation/overlay.ts";
import { undo } from "../../agent/operation/undo.ts";
import { identityOf, OwnedFd } from "../../agent/owned_fd.ts";
import { cgroupOf } from "../../agent/process/cgroup.ts";
import { imageGraph } from "../../agent/qmp/graph.ts";
import { FakeHost, UNTOUCHED } from "../fakes/host.ts";

const CREDENTIAL = { uid: 64055, gid: 64055, groups: [] };

function guestOn(name: string, path: string): Guest {
  return {
    name,
    file: `${name}.toml`,
    qemu: { binary: "qemu", args: [], user: "qemu", accelerator: "kvm" },
    images: [{
      name: "data",
      path,
      format: "raw",
      access: "rw",
      cache: "none",
      device: "virtio-blk-pci",
      shared: false,
      transient: false,
      backing: [],
    }],
  };
}

/** The device 7:3 as its inspection would find it. */
function foundOn(guest: Guest): Inspected {
  const layer = layersOf(guest)[0]!;
  return {
    layer: { ...layer, privateNode: privateNodeOf(guest.name, layer) },
    identity: "block:7:3",
    label: UNTOUCHED,
    storage: {
      fsType: "devtmpfs",
      keepsLabels: true,
      openDeniedBy: "type",
      revocation: "node",
      grade: "enforced (label)",
      findings: [],
    },
    ...{ uid: 0, gid: 6, mode: constants.S_IFBLK | 0o660 },
  };
}

describe("the identity of a block device", () => {
  const node: Statx = {
    ...{ mode: constants.S_IFBLK | 0o600, nlink: 1, uid: 0, gid: 0, size: 0n },
    ...{ ino: 107n, devMajor: 0, devMinor: 6, rdevMajor: 7, rdevMinor: 3, mountId: 1n },
  };
  it("is its number, whatever node it was opened through", () => {
    assert.equal(identityOf(node), "block:7:3");
    assert.equal(identityOf({ ...node, ino: 9n, devMinor: 30 }), "block:7:3");
    assert.notEqual(identityOf({ ...node, rdevMinor: 4 }), "block:7:3");
  });
  it("is never that of a file", () => {
    const file = { ...node, mode: constants.S_IFREG, devMajor: 7, devMinor: 3 };
    assert.equal(identityOf(file), "7:3:107");
  });
});

describe("a claim", () => {
  const failing = (errno: number) => () => {
    throw new SystemError("openat2", errno, { path: "/dev/svirt-agent/web1/data" });
  };
  it("asks for O_EXCL", () => {
    let asked = 0;
    claim("/dev/vdb", (flags) => (asked = flags, new OwnedFd(-1, "/dev/vdb")));
    assert.equal(asked, constants.O_EXCL);
  });
  it("says of a device that is mounted who can tell more", () => {
    assert.throws(() => claim("/dev/vdb", failing(os.errno.EBUSY)), {
      name: "ImageError",
      code: "in-use",
      path: "/dev/vdb",
      hint: /lsblk .*\/dev\/vdb/,
    });
  });
  it("passes every other error on", () => {
    assert.throws(() => claim("/dev/vdb", failing(os.errno.ENXIO)), { code: "ENXIO" });
  });
});

describe("a guest that gets a block device", () => {
  it("has it recorded with the node that goes when the attach is undone, and no label", async () => {
    using host = new FakeHost();
    const guest = guestOn("web1", host.file("node"));
    const found = { ...foundOn(guest), identity: identityFor(guest, host) };
    const { operation } = grantImages(guest, [found], CREDENTIAL, cgroupOf("web1"), host);
    const undos = host.log.state.intents.get(operation)!.undo;
    assert.deepEqual(undos.map(({ kind }) => kind), ["level", "cgroup", "node"]);
    assert.deepEqual(host.log.state.temporary.get("web1")?.map(({ path }) => path), [
      "/dev/svirt-agent/web1/data",
    ]);
    await undo(operation, host);
    assert.equal(host.log.state.temporary.size, 0);
    assert.equal(host.log.state.references.size, 0);
  });

  it("keeps it from another guest that names another node", () => {
    using host = new FakeHost();
    const web1 = guestOn("web1", host.file("node")), web2 = guestOn("web2", host.file("other"));
    const identity = identityFor(web1, host);
    grantImages(web1, [{ ...foundOn(web1), identity }], CREDENTIAL, cgroupOf("web1"), host);
    const second = [{ ...foundOn(web2), identity }];
    assert.throws(() => grantImages(web2, second, CREDENTIAL, cgroupOf("web2"), host), {
      name: "RefusedError",
      message: /web1 \(image data\) may write it/,
    });
  });

  it("has it as host_device, by descriptor alone", () => {
    const guest = guestOn("web1", "/dev/vdb");
    const { layer } = foundOn(guest);
    const text = JSON.stringify(imageGraph([layer], guest));
    assert.match(
      text,
      /"driver":"host_device","node-name":"data.file","filename":"\/dev\/fdset\/1"/,
    );
    assert.doesNotMatch(text, /"driver":"file"|\/dev\/vdb|\/dev\/svirt-agent/);
    assert.equal(classOf(layer), "blk_file");
  });
});

/** The file that stands for the device's node here, where none can be made. */
function identityFor({ images: [image] }: Guest, { folders }: FakeHost): Inspected["identity"] {
  using fd = openBeneath(folders, image!.path, constants.O_RDONLY);
  return fd.identity;
}

describe("the overlay of a block device", () => {
  const guest = guestOn("web1", "/dev/mapper/vg-web1");
  const top = foundOn(guest) as AttachedImage;
  const NOW = new Date("2026-11-21T10:00:00Z");

  it("cannot lie beside it: somebody has to say where", () => {
    assert.throws(() => planOverlay(top, 2, NOW), {
      name: "RefusedError",
      message: /is the block device "\/dev\/mapper\/vg-web1"/,
      hint: /--overlay-in FOLDER/,
    });
  });

  it("is a file there, named after the device", () => {
    const layer = planOverlay(top, 2, NOW, "/srv/images");
    assert.match(layer.path, /^\/srv\/images\/vg-web1\.20261121T100000Z-[0-9a-f]{6}\.qcow2$/);
    assert.equal(isDevice(layer), false);
    assert.equal(classOf(layer), "file");
  });

  it("and the next one lies beside it", () => {
    const first = planOverlay(top, 2, NOW, "/srv/images");
    const next = planOverlay({ ...top, layer: first }, 3, NOW);
    assert.match(next.path, /^\/srv\/images\/vg-web1\./);
  });
});

describe("a private node that is not there", () => {
  it("is no error", () => {
    assert.deepEqual(removePrivateNode("/dev/svirt-agent/nobody/data", "block:7:3"), []);
  });
  it("leaves no folder behind, as when it could not be made", () => {
    const root = mkdtempSync(`${tmpdir()}/nodes-`);
    mkdirSync(`${root}/web1`);
    assert.deepEqual(removePrivateNode(`${root}/web1/data`, "block:7:3"), []);
    assert.deepEqual(readdirSync(root), []);
    rmdirSync(root);
  });
  it("and what lies there instead stays, with its folder", () => {
    const root = mkdtempSync(`${tmpdir()}/nodes-`);
    const path = `${root}/data`;
    writeFileSync(path, "");
    assert.match(removePrivateNode(path, "block:7:3").join(), /another device now: left alone/);
    assert.deepEqual(readdirSync(root), ["data"]);
    rmSync(root, { recursive: true });
  });
});
