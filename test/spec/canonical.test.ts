import { describe, it } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { canonical } from "../../agent/audit/canonical.ts";

/** Values that JSON gives back; the key order is whatever fast-check came up with. */
const json = fc.jsonValue({ stringUnit: "binary", depthSize: "medium" });

describe("canonical", () => {
  it("gives back every JSON value through JSON.parse", () => {
    fc.assert(fc.property(json, (value) => {
      assert.deepEqual(JSON.parse(canonical(value)), JSON.parse(JSON.stringify(value)));
    }));
  });

  it("does not change a text that it wrote", () => {
    fc.assert(fc.property(json, (value) => {
      const text = canonical(value);
      assert.equal(canonical(JSON.parse(text)), text);
    }));
  });

  it("does not depend on the order in which keys were set", () => {
    const entries = fc.uniqueArray(fc.tuple(fc.string(), fc.integer()), { selector: ([k]) => k });
    fc.assert(fc.property(entries, (pairs) => {
      const backwards = Object.fromEntries(pairs.toReversed());
      assert.equal(canonical(Object.fromEntries(pairs)), canonical(backwards));
    }));
  });

  for (
    const [why, value, text] of [
      ["sorts keys by UTF-16 code units", {
        "\u20ac": 1,
        "\r": 2,
        "1": 3,
        "\u{1f600}": 4,
        "\ufb33": 5,
      }, '{"\\r":2,"1":3,"\u20ac":1,"\u{1f600}":4,"\ufb33":5}'],
      ["sorts keys that look like numbers as text", { 9: 1, 10: 2 }, '{"10":2,"9":1}'],
      [
        "prints numbers as ECMAScript does",
        [333333333.33333329, 1e30, 4.5, 2e-3, 1e-27, -0],
        "[333333333.3333333,1e+30,4.5,0.002,1e-27,0]",
      ],
      [
        "escapes what must be and nothing else",
        '\u20ac$\u000f\nA\'B"\\\\"/\u007f',
        '"\u20ac$\\u000f\\nA\'B\\"\\\\\\\\\\"/\u007f"',
      ],
      [
        "keeps the key __proto__",
        JSON.parse('{"__proto__":[null,true,false]}'),
        '{"__proto__":[null,true,false]}',
      ],
    ] as const
  ) {
    it(why, () => assert.equal(canonical(value), text));
  }

  const cycle: { self?: unknown } = {};
  cycle.self = cycle;
  for (
    const [what, value, message] of [
      [
        "undefined in an object",
        { a: { b: undefined } },
        'Cannot write "a.b" as JSON: it is undefined',
      ],
      ["a hole in an array", { a: [1, , 3] }, 'Cannot write "a[1]" as JSON: it is undefined'],
      ["NaN", { a: [NaN] }, 'Cannot write "a[0]" as JSON: it is NaN'],
      ["Infinity", Infinity, "Cannot write value as JSON: it is Infinity"],
      ["a bigint", { ino: 5n }, 'Cannot write "ino" as JSON: it is a bigint'],
      ["a function", { f: () => 1 }, 'Cannot write "f" as JSON: it is a function'],
      [
        "a lone surrogate",
        { path: "\ud800" },
        'Cannot write "path" as JSON: it is a lone surrogate',
      ],
      ["a lone surrogate in a key", { "\ud800": 1 }, /it is a lone surrogate$/],
      ["a Date", { at: new Date(0) }, 'Cannot write "at" as JSON: it is an object of class Date'],
      ["a Map", new Map(), "Cannot write value as JSON: it is an object of class Map"],
      ["a cycle", cycle, /it is nesting deeper than 64$/],
    ] as const
  ) {
    it(`refuses ${what} and names where it is`, () => {
      assert.throws(() => canonical(value), { name: "TypeError", message });
    });
  }
});
