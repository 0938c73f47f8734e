import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { SystemError } from "../../ffi/errno.ts";
import { AuditError } from "../../agent/audit/audit_error.ts";
import { AuditLog } from "../../agent/audit/log.ts";
import { seal, text } from "../../agent/audit/record.ts";
import { RESERVE_BYTES } from "../../agent/audit/reserve.ts";
import {
  event,
  folder,
  intent,
  path,
  records,
  useAuditFolder,
  wholeOf,
} from "../fakes/audit_folder.ts";

const root = process.getuid?.() === 0;

useAuditFolder();

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
