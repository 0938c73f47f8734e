import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { existsSync, readFileSync, statSync } from "node:fs";
import { constants } from "node:os";
import { SystemError } from "../../ffi/errno.ts";
import * as libc from "../../ffi/libc.ts";
import { AuditLog, type Disk } from "../../agent/audit/log.ts";
import { RESERVE_BYTES } from "../../agent/audit/reserve.ts";
import { event, intent, path, records, useAuditFolder, wholeOf } from "../fakes/audit_folder.ts";

useAuditFolder();

/** A disk that is full when told to be, and may tear what it is given. */
class FullDisk implements Disk {
  full = false;
  tear = 0;
  /** Is the reserve what fills it? */
  byReserve = false;
  truncates = true;

  pwrite(fd: number, bytes: Uint8Array, offset: number | bigint): void {
    const full = this.byReserve ? existsSync(`${path}.reserve`) : this.full;
    if (!full) return libc.pwrite(fd, bytes, offset);
    libc.pwrite(fd, bytes.subarray(0, this.tear), offset);
    throw new SystemError("pwrite", constants.errno.ENOSPC, { path: `fd ${fd}` });
  }
  fdatasync(fd: number): void {
    libc.fdatasync(fd);
  }
  ftruncate(fd: number, length: number | bigint): void {
    if (!this.truncates) throw new SystemError("ftruncate", constants.errno.EIO);
    libc.ftruncate(fd, length);
  }
}

describe("a full disk", () => {
  for (const tear of [0, 1, 300]) {
    it(`grants nothing and leaves the log as it was (${tear} bytes were written)`, () => {
      const disk = new FullDisk();
      using log = AuditLog.open(path, { disk });
      log.append(intent("a"));
      const before = readFileSync(path, "utf8");
      Object.assign(disk, { full: true, tear });
      assert.throws(
        () => log.transact(() => ({ events: [intent("b"), intent("c")], result: "granted" })),
        (error) => {
          assert(error instanceof SystemError);
          assert.equal(error.code, "ENOSPC");
          assert.equal(error.path, path);
          assert.match(error.hint ?? "", /nothing was granted/);
          return true;
        },
      );
      assert.equal(readFileSync(path, "utf8"), before);
      assert.deepEqual([...log.state.intents.keys()], ["a"]);
      assert(existsSync(`${path}.reserve`), "only a revocation may use the reserve");
      disk.full = false;
      log.append(intent("d"));
      wholeOf(2);
    });
  }

  it("leaves no broken chain even when the disk cannot take back what it wrote", () => {
    const disk = new FullDisk();
    using log = AuditLog.open(path, { disk });
    Object.assign(disk, { full: true, tear: 50, truncates: false });
    assert.throws(() => log.append(intent("a")), { code: "ENOSPC" });
    assert.equal(statSync(path).size, 50);
    Object.assign(disk, { full: false, truncates: true });
    log.append(intent("b"));
    wholeOf(2);
    assert.deepEqual(records().map((r) => r["id"]), ["audit-torn-tail", "b"]);
  });

  it("still records a revocation, in the space of the reserve", () => {
    const disk = new FullDisk();
    using log = AuditLog.open(path, { disk });
    disk.byReserve = true;
    assert.throws(() => log.append(event("grant")), { code: "ENOSPC" });
    assert.equal(log.append(event("revoke"), { revocation: true }).seq, 0);
    assert(!existsSync(`${path}.reserve`));
    wholeOf(1);
  });

  it("fails a revocation too when the reserve is used up", () => {
    const disk = new FullDisk();
    using log = AuditLog.open(path, { disk });
    disk.full = true;
    const revoke = () => log.append(event("revoke"), { revocation: true });
    assert.throws(revoke, { code: "ENOSPC" });
    assert.throws(revoke, { code: "ENOSPC" });
    wholeOf(0);
  });

  it("keeps a new reserve before it grants again", () => {
    const disk = new FullDisk();
    using log = AuditLog.open(path, { disk });
    disk.byReserve = true;
    log.append(event("revoke"), { revocation: true });
    disk.byReserve = false;
    log.append(event("grant"));
    assert.equal(statSync(`${path}.reserve`).size, RESERVE_BYTES);
  });

  it("takes a failed fdatasync as not written", () => {
    const disk = new FullDisk();
    using log = AuditLog.open(path, { disk });
    disk.fdatasync = () => {
      throw new SystemError("fdatasync", constants.errno.EIO);
    };
    assert.throws(() => log.append(event("a")), (error) => {
      assert(error instanceof SystemError);
      assert.equal(error.code, "EIO");
      assert.match(error.hint ?? "", /nothing was granted/);
      return true;
    });
    wholeOf(0);
  });
});
