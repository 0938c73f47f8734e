/**
 * An image whose name leads to another file by the time of the next step: each step that goes by the
 * name refuses, and what lies there now is left as it is.
 *
 * @module
 */

import assert from "node:assert/strict";
import { chownSync, renameSync, statSync } from "node:fs";
import process from "node:process";
import { describe, it } from "node:test";
import { grantImages } from "../../agent/grant/grant.ts";
import type { Guest } from "../../agent/guest.ts";
import type { Inspected } from "../../agent/image/inspect.ts";
import { openImage } from "../../agent/image/open.ts";
import { checkHeaders } from "../../agent/image/pinned.ts";
import { cgroupOf } from "../../agent/process/cgroup.ts";
import { guestOf, inspected } from "../fakes/guest.ts";
import { FakeHost } from "../fakes/host.ts";

const skip = process.getuid?.() === 0 ? false : "needs root: allowed folders belong to root";

const REPLACED = { name: "ImageError", code: "replaced" };
/** Owns the image, which has not to be given to it first. */
const ROOT = { uid: 0, gid: 0, groups: [] };
const QEMU = { uid: 64055, gid: 64055, groups: [] };
/** Whose the file is that takes an image's place. */
const OTHER = 1234;

/** A guest with one image that was inspected, and then another file was moved over. */
class Replaced extends FakeHost {
  readonly path = this.file("web1.raw", "the guest's");
  readonly guest: Guest = guestOf("web1", { path: this.path, cache: "writeback" });
  readonly found: Inspected[] = inspected(this.guest, this);

  constructor() {
    super();
    const other = this.file("other.raw", "another's");
    chownSync(other, OTHER, OTHER);
    renameSync(other, this.path);
  }

  /** Nothing was granted or undone, and the other file has its owner. */
  requireUntouched(): void {
    const { uid, gid } = statSync(this.path);
    assert.deepEqual([uid, gid], [OTHER, OTHER]);
    assert.equal(this.selinux.labels.size, 0);
    const { grants, intents, levels } = this.log.state;
    assert.deepEqual([grants.size, intents.size, levels.size], [0, 0, 0]);
  }
}

describe("a file that was moved over an image since it was inspected", { skip }, () => {
  it("is not granted, and its owner and label are not taken for the image's", () => {
    using host = new Replaced();
    const { guest, found } = host;
    assert.throws(() => grantImages(guest, found, QEMU, cgroupOf("web1"), host), REPLACED);
    host.requireUntouched();
  });

  it("is not opened for the guest", () => {
    using host = new Replaced();
    assert.throws(() => openImage(host.found[0]!, ROOT, host.folders), REPLACED);
    host.requireUntouched();
  });

  it("is not given to QEMU's user", () => {
    using host = new Replaced();
    assert.throws(() => openImage(host.found[0]!, QEMU, host.folders), REPLACED);
    host.requireUntouched();
  });

  it("is not taken at its header's word", () => {
    using host = new Replaced();
    const check = { guest: "web1", files: host.found, pinnedBy: "web1.toml", runs: false };
    assert.throws(() => checkHeaders(check, host), REPLACED);
    assert.throws(() => checkHeaders({ ...check, runs: true }, host), REPLACED);
  });
});
