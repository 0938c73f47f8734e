import { describe, it } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { lines } from "../../agent/audit/lines.ts";
import { EMPTY, NO_HASH, recompute, seal, text } from "../../agent/audit/record.ts";

describe("seal", () => {
  const event = {
    event: "deny",
    guest: "web1",
    key: "open",
    count: 1,
    first: "",
    last: "",
  } as const;

  it("chains the first record to 64 zeros and counts from 0", () => {
    const record = seal(event, EMPTY, new Date(0));
    assert.equal(record.seq, 0);
    assert.equal(record.prev, "0".repeat(64));
    assert.equal(record.time, "1970-01-01T00:00:00.000Z");
    assert.equal(
      text(record),
      '{"count":1,"event":"deny","first":"","guest":"web1","hash":"' + record.hash +
        `","key":"open","last":"","prev":"${NO_HASH}","seq":0,"time":"1970-01-01T00:00:00.000Z"}`,
    );
  });

  it("hashes the record without its hash", () => {
    const record = seal(event, EMPTY);
    assert.equal(recompute(record).hash, record.hash);
  });

  it("refuses an event that sets what the log sets", () => {
    const forged = { ...event, seq: 5 };
    assert.throws(() => seal(forged, EMPTY), { message: 'Cannot record "seq": the log sets it' });
  });

  it("refuses a line that no reader would take", () => {
    assert.throws(() => seal({ ...event, key: "x".repeat(1 << 20) }, EMPTY), RangeError);
  });
});

describe("lines", () => {
  it("splits a file alike whatever the size of the pieces it is read in", () => {
    const content = fc.array(fc.constantFrom("a", "ü", "\n"), { maxLength: 60 }).map((a) =>
      Buffer.from(a.join(""))
    );
    fc.assert(fc.property(content, fc.integer({ min: 1, max: 20 }), (file, chunk) => {
      const read = (buffer: Uint8Array, offset: number) => {
        const part = file.subarray(offset, offset + buffer.length);
        buffer.set(part);
        return part.length;
      };
      const got = [...lines(read, 100, { chunk })].map((line) => ({
        ...line,
        bytes: Buffer.from(line.bytes),
      }));
      // The buffer is reused, so only offsets and ends can be compared after the fact.
      let at = 0;
      for (const { offset, bytes, complete } of got) {
        assert.equal(offset, at);
        at += bytes.length + (complete ? 1 : 0);
      }
      assert.equal(at, file.length);
      assert.equal(
        got.filter((line) => line.complete).length,
        file.filter((b) => b === 0x0a).length,
      );
    }));
  });
});
