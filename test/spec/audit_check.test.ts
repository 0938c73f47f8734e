import { after, before, describe, it } from "node:test";
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { type Broken, checkLog, formatProblem } from "../../agent/audit/check.ts";
import {
  type AuditRecord,
  EMPTY,
  type Head,
  NO_HASH,
  recompute,
  seal,
  text,
} from "../../agent/audit/record.ts";

let folder: string;
let file: string;
before(() => {
  folder = mkdtempSync(join(tmpdir(), "audit-check-"));
  file = join(folder, "audit.jsonl");
});
after(() => rmSync(folder, { recursive: true }));

/** A chain of so many records; the text is neither short nor only ASCII. */
function chain(count: number, from: Head = EMPTY): AuditRecord[] {
  const records: AuditRecord[] = [];
  for (let i = 0; i < count; i++) {
    const event = {
      event: "recover",
      operation: `op-${i}`,
      guest: "web1",
      did: ["Rückbau \ufffd \u{1f600}"],
    } as const;
    records.push(seal(event, records.at(-1) ?? from, new Date(1.7e12 + i)));
  }
  return records;
}

function bytesOf(records: readonly AuditRecord[]): Uint8Array {
  return Buffer.from(records.map((record) => `${text(record)}\n`).join(""));
}

function check(bytes: Uint8Array | string) {
  writeFileSync(file, bytes);
  return checkLog(file);
}

function broken(bytes: Uint8Array | string): Broken {
  const checked = check(bytes);
  assert(!checked.ok);
  return checked;
}

/** The record with some members changed and its own hash recomputed: what a forger would write. */
function forge(record: AuditRecord, change: object): AuditRecord {
  const forged = { ...record, ...change };
  return { ...forged, hash: recompute(forged).hash } as AuditRecord;
}

describe("checkLog", () => {
  it("finds an empty log whole", () => {
    assert.deepEqual(check(""), { ok: true, records: 0, head: NO_HASH, bytes: 0, notes: [] });
  });

  it("finds a log whole that the agent wrote, and gives its head", () => {
    const records = chain(20);
    const bytes = bytesOf(records);
    assert.deepEqual(check(bytes), {
      ok: true,
      records: 20,
      head: records[19]!.hash,
      bytes: bytes.length,
      notes: [],
    });
  });

  it("finds one changed byte, wherever it is, in the record that holds it", () => {
    const records = chain(4);
    const good = bytesOf(records);
    let line = 1;
    for (let i = 0; i < good.length; i++) {
      for (const other of [good[i]! ^ 1, good[i]! ^ 0x80, 0x0a, 0xef]) {
        if (other === good[i]) continue;
        const bad = Buffer.from(good);
        bad[i] = other;
        assert.equal(broken(bad).line, line, `byte ${i} as ${other}`);
      }
      if (good[i] === 0x0a) line++;
    }
  });

  it("finds any change of one byte in one of many records", () => {
    const good = bytesOf(chain(30));
    fc.assert(fc.property(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
      const bad = Buffer.from(good);
      bad[at] = bad[at]! ^ flip;
      const before = good.subarray(0, at).filter((byte) => byte === 0x0a).length;
      assert.equal(broken(bad).line, before + 1);
    }));
  });

  it("names the record after one that was changed with its hash recomputed", () => {
    const records = chain(5);
    records[2] = forge(records[2]!, { guest: "web2" });
    const problem = broken(bytesOf(records));
    assert.equal(problem.line, 4);
    assert.equal(problem.seq, 3);
    assert.match(
      problem.problem,
      /^prev does not match: a record before it was removed or replaced$/,
    );
  });

  for (
    const [what, edit, line, problem] of [
      ["a record that was removed", (r) => bytesOf(r.toSpliced(2, 1)), 3, /^prev does not match/],
      ["a first record that was removed", (r) => bytesOf(r.slice(1)), 1, /^prev does not match/],
      [
        "two records that changed places",
        (r) => bytesOf(r.with(1, r[2]!).with(2, r[1]!)),
        2,
        /^prev does not match/,
      ],
      [
        "a record that stands twice",
        (r) => bytesOf(r.toSpliced(2, 0, r[1]!)),
        3,
        /^prev does not match/,
      ],
      [
        "a seq that skips, although all hashes match",
        (r) => bytesOf([r[0]!, ...chain(1, { seq: 5, hash: r[0]!.hash })]),
        2,
        /^seq is not 1: the chain was not written by the agent$/,
      ],
      [
        "keys in another order",
        (r) => `${JSON.stringify({ zz: 1, ...r[0] })}\n`,
        1,
        /^not canonical/,
      ],
      ["a space", (r) => `${text(r[0]!).replace(":", ": ")}\n`, 1, /^not canonical/],
      [
        "a key that stands twice",
        (r) => `${text(r[0]!).replace("{", '{"did":[],')}\n`,
        1,
        /^not canonical/,
      ],
      [
        "an escape that is not needed",
        (r) => `${text(r[0]!).replace("web1", "web\\u0031")}\n`,
        1,
        /^not canonical/,
      ],
      [
        "a lone surrogate",
        (r) => `${text(r[0]!).replace("web1", "\\ud800")}\n`,
        1,
        /^not canonical: .*lone surrogate/,
      ],
      ["a byte-order mark", (r) => `\ufeff${text(r[0]!)}\n`, 1, /^not JSON/],
      ["a carriage return", (r) => `${text(r[0]!)}\r\n`, 1, /^not canonical/],
      ["an empty line", (r) => `${text(r[0]!)}\n\n`, 2, /^not JSON/],
      ["a line that is no record", () => "{}\n", 1, /^not a record/],
      ["a list", () => "[]\n", 1, /^not a record/],
      ["nesting that would overflow the stack", () => `${"[".repeat(400_000)}\n`, 1, /^not JSON/],
      ["a line that never ends", () => "x".repeat((1 << 20) + 1), 1, /^longer than 1048576 bytes/],
      [
        "an incomplete last line",
        (r) => Buffer.from(bytesOf(r)).subarray(0, -1),
        4,
        /^incomplete last line/,
      ],
    ] as [string, (records: AuditRecord[]) => Uint8Array | string, number, RegExp][]
  ) {
    it(`finds ${what}`, () => {
      const found = broken(edit(chain(4)));
      assert.equal(found.line, line);
      assert.match(found.problem, problem);
    });
  }

  it("notes a clock that went backwards, which breaks nothing", () => {
    const first = seal(
      { event: "recover", operation: "a", guest: "g", did: [] },
      EMPTY,
      new Date(5000),
    );
    const second = seal(
      { event: "recover", operation: "b", guest: "g", did: [] },
      first,
      new Date(4000),
    );
    const checked = check(bytesOf([first, second]));
    assert(checked.ok);
    assert.deepEqual(checked.notes, [
      {
        line: 2,
        text: "the clock went back from 1970-01-01T00:00:05.000Z to 1970-01-01T00:00:04.000Z",
      },
    ]);
  });

  it("refuses what is no regular file", () => {
    assert.throws(() => checkLog(folder), {
      message: `Cannot check "${folder}": not a regular file`,
    });
  });
});

describe("formatProblem", () => {
  it("prints the place, the record, the problem and a hint like a compiler", () => {
    const records = chain(2);
    const bad = text(records[1]!).replace("web1", "web2");
    const problem = broken(`${text(records[0]!)}\n${bad}\n`);
    assert.equal(
      formatProblem("audit.jsonl", problem),
      [
        "audit.jsonl:2: seq 1: hash does not match: this record was changed after it was written",
        `    ${bad.slice(0, 160)}`,
        "hint: Compare with a backup of the log. Its records up to this one are intact.",
      ].join("\n"),
    );
  });

  it("points at the column where it knows it, and shows the line around it", () => {
    const line = text(chain(1)[0]!);
    const at = line.indexOf('"time"');
    const problem = broken(`${line.replace(',"time"', ', "time"')}\n`);
    assert.equal(problem.column, at + 1);
    const [place, excerpt, caret] = formatProblem("audit.jsonl", problem).split("\n");
    assert.match(place!, new RegExp(`^audit\\.jsonl:1:${at + 1}: seq 0: not canonical`));
    assert(excerpt!.length <= 164);
    assert.equal(excerpt![caret!.indexOf("^")], " ");
    assert.equal(excerpt!.slice(caret!.indexOf("^") + 1, caret!.indexOf("^") + 7), '"time"');
  });

  it("sends no control characters to the terminal", () => {
    const problem = broken("\u001b[2J\u202e\u0007\n");
    assert.match(formatProblem("audit.jsonl", problem), /^ {4}·\[2J··$/m);
  });
});
