import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, constants, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { AT_FDCWD, openat2 } from "../../ffi/libc.ts";
import { fchmod, fchown, fgetxattr, fsetxattr } from "../../ffi/libc_owner.ts";
import { ownerText, readOwner, writeOwner } from "../../agent/image/owner.ts";
import { OwnedFd } from "../../agent/owned_fd.ts";

const folder = mkdtempSync(join(tmpdir(), "svirt-agent-"));
after(() => rmSync(folder, { recursive: true }));

function open(name: string, mode = 0o644): OwnedFd {
  const path = join(folder, name);
  writeFileSync(path, "");
  chmodSync(path, mode);
  return new OwnedFd(openat2(AT_FDCWD, path, { flags: constants.O_RDWR, resolve: 0n }), path);
}

/** `u::rw-`, `u:1234:rw-`, `g::r--`, mask, others: as acl(5) stores them, version 2. */
const ENTRIES = [
  [0x01, 6, 0xffffffff],
  [0x02, 6, 1234],
  [0x04, 4, 0xffffffff],
  [0x10, 6, 0xffffffff],
  [0x20, 0, 0xffffffff],
] as const;

function acl(): Uint8Array {
  const bytes = new Uint8Array(4 + 8 * ENTRIES.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 2, true);
  for (const [i, [tag, permissions, id]] of ENTRIES.entries()) {
    view.setUint16(4 + 8 * i, tag, true);
    view.setUint16(6 + 8 * i, permissions, true);
    view.setUint32(8 + 8 * i, id, true);
  }
  return bytes;
}

describe("fchown, fchmod, fgetxattr and fsetxattr", () => {
  it("name the descriptor or the path that they failed on", () => {
    assert.throws(() => fchown(-1, 0, 0), { operation: "fchown", code: "EBADF", path: "fd -1" });
    assert.throws(() => fchown(-1, 0, 0, "/a"), { path: "/a" });
    assert.throws(() => fchmod(-1, 0), { operation: "fchmod", code: "EBADF" });
    assert.throws(() => fgetxattr(-1, "user.x"), { operation: "fgetxattr", code: "EBADF" });
    assert.throws(() => fsetxattr(-1, "user.x", new Uint8Array(1)), { code: "EBADF" });
  });

  it("an attribute that the file does not have is undefined", () => {
    using fd = open("none");
    assert.equal(fgetxattr(fd.number, "trusted.svirt-agent-none"), undefined);
  });

  it("set what can be read again", () => {
    using fd = open("some");
    fsetxattr(fd.number, "trusted.svirt-agent", new Uint8Array([1, 0, 255]));
    const bytes = fgetxattr(fd.number, "trusted.svirt-agent");
    assert.deepEqual([...bytes!], [1, 0, 255]);
  });
});

describe("writeOwner", () => {
  it("puts back owner and mode that were changed", () => {
    using fd = open("owner", 0o604);
    const before = readOwner(fd);
    fchown(fd.number, 1234, 5678);
    fchmod(fd.number, 0o640);
    writeOwner(fd, before);
    assert.deepEqual(readOwner(fd), before);
  });

  it("changes nothing of a file that is as it was", () => {
    using fd = open("same");
    const ctime = () => execFileSync("stat", ["-c", "%z", fd.path], { encoding: "utf8" });
    const before = ctime();
    writeOwner(fd, readOwner(fd));
    assert.equal(ctime(), before);
  });

  it("puts back an ACL, of which a mode that was set for a while took permissions away", () => {
    using fd = open("acl");
    fsetxattr(fd.number, "system.posix_acl_access", acl());
    const before = readOwner(fd);
    assert.equal(before.acl?.attribute, "system.posix_acl_access");
    fchown(fd.number, 0, 5678);
    fchmod(fd.number, 0o640);
    assert.notDeepEqual(readOwner(fd).acl, before.acl);
    writeOwner(fd, before);
    assert.deepEqual(readOwner(fd), before);
  });

  it("keeps the set-uid bit, which a change of owner takes away", () => {
    using fd = open("setuid", 0o4755);
    const before = readOwner(fd);
    fchown(fd.number, 1234, 1234);
    assert.notEqual(fd.stat().mode, before.mode);
    writeOwner(fd, before);
    assert.equal(fd.stat().mode, before.mode);
  });
});

describe("ownerText", () => {
  it("is owner, group and permissions without the type", () => {
    assert.equal(ownerText({ uid: 0, gid: 64055, mode: 0o100640 }), "0:64055 0640");
  });
});
