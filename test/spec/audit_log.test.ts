import { after, afterEach, before, beforeEach, describe, it } from "node:test";
import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import {
  appendFileSync,
  chmodSync,
  constants as fsConstants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { SystemError } from "../../ffi/errno.ts";
import * as libc from "../../ffi/libc.ts";
import { AuditError } from "../../agent/audit/audit_error.ts";
import { checkLog } from "../../agent/audit/check.ts";
import type { AuditEvent } from "../../agent/audit/event.ts";
import { AuditLog, type Disk } from "../../agent/audit/log.ts";
import { NO_HASH, seal, text } from "../../agent/audit/record.ts";
import { RESERVE_BYTES } from "../../agent/audit/reserve.ts";

const { O_RDWR } = fsConstants;
const root = process.getuid?.() === 0;
const repository = fileURLToPath(new URL("../..", import.meta.url));

let top: string;
let folder: string;
let path: string;
let cases = 0;
before(() => {
  top = realpathSync(mkdtempSync(join(tmpdir(), "audit-log-")));
});
beforeEach(() => {
  folder = join(top, String(cases++));
  mkdirSync(folder);
  path = join(folder, "audit.jsonl");
});
afterEach(() => chmodSync(folder, 0o700));
after(() => rmSync(top, { recursive: true }));

function event(operation: string): AuditEvent {
  return { event: "recover", operation, guest: "web1", did: [] };
}

function intent(id: string): AuditEvent {
  const agent = { pid: 1, startTime: 1 };
  return { event: "intent", operation: "attach", id, guest: "web1", agent, undo: [], plan: {} };
}

function records(): { [key: string]: unknown }[] {
  return readFileSync(path, "utf8").split("\n").slice(0, -1).map((line) => JSON.parse(line));
}

function wholeOf(count: number) {
  const checked = checkLog(path);
  assert(checked.ok, JSON.stringify(checked));
  assert.equal(checked.records, count);
}

/** A disk that is full until `free` is called, and may tear what it is given. */
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

describe("AuditLog.open", () => {
  it("creates a log that only its owner may read, and a reserve beside it", () => {
    AuditLog.open(path)[Symbol.dispose]();
    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.equal(statSync(`${path}.reserve`).mode & 0o777, 0o600);
    assert.equal(statSync(`${path}.reserve`).size, RESERVE_BYTES);
    wholeOf(0);
  });

  it("goes on where the log ended", () => {
    for (const id of ["a", "b"]) {
      using log = AuditLog.open(path);
      log.append(intent(id));
    }
    using log = AuditLog.open(path);
    assert.deepEqual([...log.state.intents.keys()], ["a", "b"]);
    wholeOf(2);
  });

  it("reads a log of many chunks", () => {
    using log = AuditLog.open(path);
    log.transact(() => ({
      events: Array.from({ length: 3000 }, (_, i) => intent(`id-${i}`)),
      result: 0,
    }));
    using again = AuditLog.open(path);
    assert.equal(again.state.intents.size, 3000);
    assert.equal(again.append(event("x")).seq, 3000);
  });

  for (
    const [what, make, code, hint] of [
      ["a symbolic link", () => symlinkSync("elsewhere", path), "ELOOP", /symbolic link/],
      ["a folder", () => mkdirSync(path), "EISDIR", /audit log is a file/],
      [
        "a FIFO, without hanging",
        () => execFileSync("mkfifo", [path]),
        "not-a-log",
        /Move it away/,
      ],
      [
        "a path in a folder that does not exist",
        () => rmSync(folder, { recursive: true }),
        "ENOENT",
        /install -d -m 700/,
      ],
    ] as [string, () => void, string, RegExp][]
  ) {
    it(`refuses ${what}, and says what to do`, () => {
      make();
      assert.throws(() => AuditLog.open(path), (error) => {
        assert(error instanceof SystemError || error instanceof AuditError);
        assert.equal(error.code, code);
        assert.equal(error.path, path);
        assert.match(error.hint ?? "", hint);
        return true;
      });
      mkdirSync(folder, { recursive: true });
    });
  }

  it("refuses a log behind a folder that is a symbolic link", () => {
    symlinkSync(folder, join(folder, "link"));
    assert.throws(() => AuditLog.open(join(folder, "link", "audit.jsonl")), { code: "ELOOP" });
  });

  it("writes nothing in a folder where it may not, and says so", () => {
    // Root may write in any folder but those that the kernel makes up.
    const readOnly = root ? "/sys/kernel" : folder;
    chmodSync(folder, 0o500);
    const before = readdirSync(readOnly);
    assert.throws(() => AuditLog.open(join(readOnly, "audit.jsonl")), (error) => {
      assert(error instanceof SystemError);
      assert.match(error.code, /^(EACCES|EPERM|EROFS)$/);
      assert.match(error.hint ?? "", /may not write in|filesystem that can be written/);
      return true;
    });
    assert.deepEqual(readdirSync(readOnly), before);
  });

  it("cuts an incomplete last line off and records that it did", () => {
    using log = AuditLog.open(path);
    const last = log.append(event("a"));
    appendFileSync(path, text(seal(event("b"), last)).slice(0, -7));
    using again = AuditLog.open(path);
    wholeOf(2);
    const { event: kind, id, evidence } = records()[1]!;
    assert.equal(kind, "finding");
    assert.equal(id, "audit-torn-tail");
    assert.match((evidence as { excerpt: string }).excerpt, /^\{"did":\[\],"event":"recover"/);
    assert.equal(again.append(event("c")).seq, 2);
    assert.equal(log.append(event("d")).seq, 3);
    wholeOf(4);
  });

  it("cuts off a tail that is no text at all", () => {
    writeFileSync(path, new Uint8Array(5000).fill(0xff));
    AuditLog.open(path)[Symbol.dispose]();
    wholeOf(1);
  });

  for (
    const [what, edit, line] of [
      [
        "last record was changed",
        (t) => t.replace('"guest":"web1","hash":"' + lastHash(t), (m) => m.replace("web1", "web2")),
        3,
      ],
      ["last record follows another one", (t) => t.split("\n").toSpliced(1, 1).join("\n"), 2],
      ["first record was changed", (t) => t.replace("web1", "web2"), 1],
      ["last line is no record", (t) => `${t}{}\n`, 4],
    ] as [string, (text: string) => string, number][]
  ) {
    it(`refuses a log whose ${what}, and names the command that shows it`, () => {
      {
        using log = AuditLog.open(path);
        for (const id of ["a", "b", "c"]) log.append(event(id));
      }
      const edited = edit(readFileSync(path, "utf8"));
      writeFileSync(path, edited);
      assert.throws(() => AuditLog.open(path), (error) => {
        assert(error instanceof AuditError);
        assert.equal(error.code, "broken");
        assert.match(error.message, new RegExp(`line ${line}: .*svirt-agent audit verify ${path}`));
        return true;
      });
      assert.equal(readFileSync(path, "utf8"), edited);
    });
  }

  it("refuses a last line longer than any record", () => {
    writeFileSync(path, "x".repeat((1 << 20) + 1));
    assert.throws(() => AuditLog.open(path), { code: "broken" });
    assert.equal(statSync(path).size, (1 << 20) + 1);
  });
});

function lastHash(log: string): string {
  return JSON.parse(log.trimEnd().split("\n").at(-1)!).hash;
}

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
        JSON.stringify(new URL("../../agent/audit/log.ts", import.meta.url).href)
      };
       using log = AuditLog.open(${JSON.stringify(path)});
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
