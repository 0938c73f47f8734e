import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import {
  constants as fsConstants,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { SystemError } from "../../ffi/errno.ts";
import * as libc from "../../ffi/libc.ts";
import type { AuditEvent } from "../../agent/audit/event.ts";
import { AuditLog, type Disk } from "../../agent/audit/log.ts";
import { NO_HASH, text } from "../../agent/audit/record.ts";
import {
  event,
  folder,
  intent,
  path,
  records,
  useAuditFolder,
  wholeOf,
} from "../fakes/audit_folder.ts";

const { O_RDWR } = fsConstants;
/** Of this file and so of its neighbours: `js` in dist/. */
const ending = import.meta.url.endsWith(".ts") ? "ts" : "js";
const repository = fileURLToPath(new URL("../..", import.meta.url));

useAuditFolder();

describe("AuditLog.append", () => {
  it("has the record on the disk when it returns it", () => {
    using log = AuditLog.open(path, { now: () => new Date(0) });
    const record = log.append(event("a"));
    assert.equal(readFileSync(path, "utf8"), `${text(record)}\n`);
    assert.equal(record.prev, NO_HASH);
  });

  it("calls fdatasync after it has written and before it returns", () => {
    const calls: string[] = [];
    const disk: Disk = {
      ...libc,
      pwrite: (...args) => (calls.push("pwrite"), libc.pwrite(...args)),
      fdatasync: (fd) => (calls.push("fdatasync"), libc.fdatasync(fd)),
    };
    using log = AuditLog.open(path, { disk });
    log.append(event("a"));
    assert.deepEqual(calls, ["pwrite", "fdatasync"]);
  });

  it("records nothing that JSON cannot carry", () => {
    using log = AuditLog.open(path);
    const bad = { ...intent("a"), plan: { ino: 5n } } as AuditEvent;
    assert.throws(() => log.append(bad), { name: "TypeError", message: /"plan\.ino"/ });
    wholeOf(0);
  });

  it("makes one chain of what two logs on one file append in turn", () => {
    using one = AuditLog.open(path);
    using two = AuditLog.open(path);
    for (let i = 0; i < 10; i++) {
      assert.equal(one.append(intent(`one-${i}`)).seq, 2 * i);
      assert.equal(two.append(intent(`two-${i}`)).seq, 2 * i + 1);
    }
    wholeOf(20);
    assert.equal(two.state.intents.size, 20);
  });

  it("makes one chain of what two processes append at once", async () => {
    const run = promisify(execFile);
    const script = join(folder, "append.ts");
    writeFileSync(
      script,
      `import { AuditLog } from ${
        JSON.stringify(new URL(`../../agent/audit/log.${ending}`, import.meta.url).href)
      };
       const log = AuditLog.open(${JSON.stringify(path)});
       for (let i = 0; i < 200; i++) {
         log.append({ event: "recover", operation: process.argv.at(-1), guest: String(i), did: [] });
       }`,
    );
    const flags = "Deno" in globalThis
      ? ["run", "-A", "--no-check", "--config", join(repository, "deno.json")]
      : [];
    await Promise.all(["one", "two"].map((who) => run(process.execPath, [...flags, script, who])));
    wholeOf(400);
    for (const who of ["one", "two"]) {
      const guests = records().filter((r) => r["operation"] === who).map((r) => r["guest"]);
      assert.deepEqual(guests, Array.from({ length: 200 }, (_, i) => String(i)));
    }
  });

  it(
    "does not wait for ever for a log that another process has locked",
    { timeout: 20_000 },
    () => {
      const start = {
        event: "agent-start",
        pid: 4711,
        startTime: 1,
        version: "1",
        runtime: "node 24",
        context: null,
      } as const;
      using log = AuditLog.open(path);
      log.append(start);
      const flags = O_RDWR;
      const fd = libc.openat2(libc.AT_FDCWD, path, { flags, resolve: 0n });
      libc.setLock(fd, { type: "write", start: 0, length: 0 });
      assert.throws(() => log.append(event("a")), (error) => {
        assert(error instanceof SystemError);
        assert.equal(error.code, "EAGAIN");
        assert.equal(error.path, path);
        assert.match(
          error.hint ?? "",
          /held the lock of the audit log for 5 s: .* pid 4711, node 24/,
        );
        return true;
      });
      libc.close(fd);
      assert.equal(log.append(event("a")).seq, 1);
    },
  );

  for (
    const [what, move] of [["moved away", () => renameSync(path, `${path}.1`)], [
      "deleted",
      () => rmSync(path),
    ]] as const
  ) {
    it(`refuses a log that was ${what} while in use`, () => {
      using log = AuditLog.open(path);
      log.append(event("a"));
      move();
      assert.throws(() => log.append(event("b")), { name: "AuditError", code: "replaced" });
    });
  }

  it("refuses a log that was cut off while in use", () => {
    using log = AuditLog.open(path);
    log.append(event("a"));
    log.append(event("b"));
    truncateSync(path, 10);
    assert.throws(() => log.append(event("c")), { name: "AuditError", code: "broken" });
  });

  it("cannot be used once closed", () => {
    const log = AuditLog.open(path);
    log[Symbol.dispose]();
    log[Symbol.dispose]();
    assert.throws(() => log.append(event("a")), TypeError);
  });
});

describe("AuditLog.transact", () => {
  it("shows the state as it is now, with what others appended", () => {
    using one = AuditLog.open(path);
    using two = AuditLog.open(path);
    one.append(intent("a"));
    const open = two.transact((state) => ({ events: [], result: [...state.intents.keys()] }));
    assert.deepEqual(open, ["a"]);
    wholeOf(1);
  });

  it("records all events of a decision in order, with one write and one fdatasync", () => {
    const calls: string[] = [];
    const disk: Disk = {
      ...libc,
      pwrite: (...args) => (calls.push("pwrite"), libc.pwrite(...args)),
      fdatasync: (fd) => (calls.push("fdatasync"), libc.fdatasync(fd)),
    };
    using log = AuditLog.open(path, { disk });
    const result = log.transact(() => ({
      events: [intent("a"), event("a"), event("b")],
      result: "yes",
    }));
    assert.equal(result, "yes");
    assert.deepEqual(records().map((r) => r["operation"]), ["attach", "a", "b"]);
    assert.deepEqual(calls, ["pwrite", "fdatasync"]);
  });

  it("records nothing when the decision throws, and can decide again", () => {
    using log = AuditLog.open(path);
    assert.throws(() =>
      log.transact(() => {
        throw new Error("no");
      }), { message: "no" });
    assert.equal(log.append(event("a")).seq, 0);
  });

  it("refuses to append in the middle of a decision", () => {
    using log = AuditLog.open(path);
    assert.throws(
      () => log.transact(() => ({ events: [], result: log.append(event("a")) })),
      { name: "TypeError", message: "Cannot use the audit log while it decides" },
    );
    wholeOf(0);
  });

  it("records nothing when one of the events cannot be", () => {
    using log = AuditLog.open(path);
    const bad = { ...intent("b"), plan: undefined };
    assert.throws(() => log.transact(() => ({ events: [intent("a"), bad], result: 0 })), TypeError);
    wholeOf(0);
    assert.equal(log.state.intents.size, 0);
  });
});
