/**
 * Fedora's policy, offline: what guests get where it differs from the reference policy, with our
 * modules on top. `fedora.cil` holds only the rules that matter here; the lab has the whole of
 * Debian's, and enforces it.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { BooleanValues } from "../../agent/policy/binary/with_booleans.ts";
import { compiled, MODULES, readCil } from "../policy/compile.ts";

const policy = compiled(...["test/policy/fedora.cil", ...MODULES].map(readCil));

/** The permissions that are allowed, and those that a rule grants and a constraint takes away. */
function ask(
  source: string,
  target: string,
  tclass: string,
  permissions: readonly string[],
  booleans: BooleanValues = {},
): { permissions: string[]; constrained: string[] } {
  const [answer] = policy.ask([{ source, target, tclass, permissions, booleans }]);
  for (const { missing } of answer!.decisions.values()) assert.equal(missing, undefined);
  const those = (of: "answer" | "by", value: string) =>
    [...answer!.decisions].filter(([, decision]) => decision[of] === value).map(([name]) => name);
  return { permissions: those("answer", "allowed"), constrained: those("by", "constraint") };
}

const FILE = ["getattr", "read", "write", "append", "ioctl", "lock", "open", "map"];

/** What a guest with categories c1,c2 may do with a file, as one line. */
function onFile(type: string, booleans: BooleanValues = {}, domain = "svirt_t"): string {
  const source = `system_u:system_r:${domain}:s0:c1,c2`;
  return ask(source, `system_u:object_r:${type}`, "file", FILE, booleans)
    .permissions.join(" ");
}

describe("guests on Fedora's policy, with the modules", () => {
  for (const domain of ["svirt_t", "svirt_tcg_t"]) {
    it(`${domain} uses the descriptor of its own image and can neither open, map nor lock it`, () => {
      const allowed = onFile("svirt_fd_image_t:s0:c1,c2", {}, domain);
      assert.equal(allowed, "getattr read write append ioctl");
    });
    it(`${domain} reads a frozen image or a base through its descriptor, and that is all`, () => {
      assert.equal(onFile("svirt_fd_ro_t:s0", {}, domain), "getattr read ioctl");
      assert.equal(onFile("svirt_fd_ro_t:s0:c1,c2", {}, domain), "getattr read ioctl");
    });
  }

  for (const type of ["svirt_fd_image_t", "svirt_fd_ro_t"]) {
    it(`gets nothing but stat on another guest's ${type}: a constraint takes the rest`, () => {
      const source = "system_u:system_r:svirt_t:s0:c1,c2";
      const target = `system_u:object_r:${type}:s0:c3,c4`;
      const { permissions, constrained } = ask(source, target, "file", FILE);
      assert.deepEqual(permissions, ["getattr"]);
      assert.ok(constrained.includes("read") && constrained.includes("ioctl"));
    });
  }

  it("uses its own block device by descriptor alone, and another guest's not at all", () => {
    const on = (target: string) =>
      ask("system_u:system_r:svirt_t:s0:c1,c2", `system_u:object_r:${target}`, "blk_file", FILE);
    const uses = ["getattr", "read", "write", "append", "ioctl"];
    assert.deepEqual(on("svirt_fd_image_t:s0:c1,c2").permissions, uses);
    assert.deepEqual(on("svirt_fd_ro_t:s0:c1,c2").permissions, ["getattr", "read", "ioctl"]);
    assert.deepEqual(on("svirt_fd_image_t:s0:c3,c4").permissions, ["getattr"]);
    assert.deepEqual(on("svirt_fd_ro_t:s0:c3,c4").permissions, ["getattr"]);
    assert.deepEqual(on("svirt_fd_ro_t:s0").permissions, ["getattr", "read", "ioctl"]);
  });

  it("maps images of libvirt's, which domain_can_mmap_files reaches, and never one of these types", () => {
    const on = { domain_can_mmap_files: true };
    assert.match(onFile("virt_image_t:s0", on), /\bmap\b/);
    assert.doesNotMatch(onFile("virt_image_t:s0", { domain_can_mmap_files: false }), /\bmap\b/);
    assert.doesNotMatch(onFile("svirt_fd_image_t:s0:c1,c2", on), /\bmap\b/);
    assert.doesNotMatch(onFile("svirt_fd_ro_t:s0", on), /\bmap\b/);
  });

  it("may open another guest's svirt_image_t, which categories do not stop, but not these types", () => {
    assert.equal(onFile("svirt_image_t:s0:c3,c4"), "getattr open map");
    assert.equal(onFile("svirt_fd_image_t:s0:c3,c4"), "getattr");
  });

  it("may open and map all that is labelled virt_content_t, which svirt_fd_ro_t does not grant", () => {
    assert.equal(onFile("virt_content_t:s0"), "getattr read ioctl lock open map");
  });
});

describe("NFS without labels on Fedora's policy", () => {
  const INHERITED = "getattr read write append ioctl lock";

  it("lets guests use what they are handed while virt_use_nfs is off, and open nothing", () => {
    assert.equal(onFile("nfs_t:s0"), INHERITED);
  });
  it("is open to every guest, map included, once virt_use_nfs is on", () => {
    assert.equal(onFile("nfs_t:s0", { virt_use_nfs: true }), `${INHERITED} open map`);
  });
  it("is not changed by our boolean virt_read_write_nfs, on or off", () => {
    for (const virt_use_nfs of [false, true]) {
      const off = onFile("nfs_t:s0", { virt_use_nfs, virt_read_write_nfs: false });
      assert.equal(onFile("nfs_t:s0", { virt_use_nfs, virt_read_write_nfs: true }), off);
    }
  });
});

describe("the agent on Fedora's policy", () => {
  const image = "system_u:object_r:svirt_fd_image_t:s0:c1,c2";
  const guest = "system_u:system_r:svirt_t:s0:c1,c2";
  const ranged = "system_u:system_r:svirt_agent_t:s0-s0:c0.c1023";
  const s0 = "system_u:system_r:svirt_agent_t:s0";

  it("hands descriptors over although domain_fd_use is off", () => {
    const booleans = { domain_fd_use: false };
    assert.deepEqual(ask(guest, ranged, "fd", ["use"], booleans).permissions, ["use"]);
  });
  it("labels an image for a guest and starts it, with every category in its range", () => {
    const relabel = ["relabelfrom", "relabelto"];
    assert.deepEqual(ask(ranged, image, "file", relabel).permissions, relabel);
    assert.deepEqual(ask(ranged, guest, "process", ["transition"]).constrained, []);
    assert.equal(ask(ranged, guest, "process", ["transition"]).permissions.length, 1);
  });
  it("could do neither at s0: a constraint is in the way", () => {
    assert.deepEqual(ask(s0, image, "file", ["relabelto"]).constrained, ["relabelto"]);
    assert.deepEqual(ask(s0, guest, "process", ["transition"]).constrained, ["transition"]);
  });
  it("makes device nodes and reads disks with svirt_agent_use_devices alone", () => {
    const disk = "system_u:object_r:fixed_disk_device_t:s0";
    for (const svirt_agent_use_devices of [false, true]) {
      const on = { svirt_agent_use_devices };
      const may = (target: string, tclass: string, asked: string[]) =>
        ask(ranged, target, tclass, asked, on).permissions;
      const all = (asked: string[]) => svirt_agent_use_devices ? asked : [];
      assert.deepEqual(may(ranged, "capability", ["mknod"]), all(["mknod"]));
      assert.deepEqual(may(image, "blk_file", ["create", "open"]), all(["create", "open"]));
      assert.deepEqual(
        may(disk, "blk_file", ["read", "open", "ioctl"]),
        all(["read", "open", "ioctl"]),
      );
      assert.deepEqual(may(disk, "blk_file", ["write", "append", "relabelfrom", "setattr"]), []);
      // What it gave it takes back, whoever switched the boolean off meanwhile.
      const frozen = image.replace("image_t", "ro_t");
      assert.deepEqual(may(image, "blk_file", ["relabelfrom", "unlink"]), [
        "relabelfrom",
        "unlink",
      ]);
      assert.deepEqual(may(frozen, "blk_file", ["relabelto", "unlink"]), ["relabelto", "unlink"]);
    }
  });
  it("opens the images that it hands over: of every guest, on NFS, and libvirt's", () => {
    const open = ["read", "write", "open"];
    for (
      const target of [image, "system_u:object_r:nfs_t:s0", "system_u:object_r:virt_image_t:s0"]
    ) {
      assert.deepEqual(ask(ranged, target, "file", open).permissions, open, target);
    }
  });
});
