import { describe, it } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { parseObject } from "../../agent/io/json.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const parse = (text: string, depth = 8) => parseObject(bytes(text), depth);

/** Everything that a terminal may take for a command, or that turns the direction of a line. */
const HARMFUL = /[\p{Cc}\u200e\u200f\u202a-\u202e\u2066-\u2069]/u;

describe("parseObject", () => {
  it("reads back every object that JSON can carry", () => {
    fc.assert(fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (object) => {
      const text = JSON.stringify(object);
      assert.deepEqual(parse(text, 1000), JSON.parse(text));
    }));
  });

  for (const text of ["[]", "1", "null", '"text"', "true", "[{}]"]) {
    it(`refuses ${text}: not an object`, () => {
      assert.throws(() => parse(text), { name: "SyntaxError", message: /not a JSON object$/ });
    });
  }

  for (const text of ["", " ", "{", "{}{}", "{'a':1}", '{"a":1,}', "HTTP/1.1 400 Bad Request"]) {
    it(`refuses ${JSON.stringify(text)}: not JSON`, () => {
      assert.throws(() => parse(text), { name: "SyntaxError", message: /^Cannot read "/ });
    });
  }

  for (
    const [what, wrong] of [
      ["a byte that no character begins with", [0xff]],
      ["half a character", [0xc3]],
      ["an overlong slash", [0xc0, 0xaf]],
      ["a surrogate", [0xed, 0xa0, 0x80]],
    ] as const
  ) {
    it(`refuses ${what}: not UTF-8`, () => {
      const text = new Uint8Array([...bytes('{"a":"'), ...wrong, ...bytes('"}')]);
      assert.throws(() => parseObject(text, 8), SyntaxError);
    });
  }

  it("leaves a key __proto__ a key", () => {
    const object = parse('{"__proto__":{"admin":true}}');
    assert.equal(object["admin"], undefined);
    assert.deepEqual(Object.keys(object), ["__proto__"]);
  });

  it("throws nothing but SyntaxError, whatever the bytes", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      try {
        parseObject(bytes, 4);
      } catch (error) {
        assert(error instanceof SyntaxError, String(error));
      }
    }));
  });
});

describe("parseObject's depth", () => {
  const nested = (open: string, close: string, n: number) =>
    `{"a":${open.repeat(n - 1)}1${close.repeat(n - 1)}}`;

  for (
    const [what, open, close] of [["arrays", "[", "]"], ["objects", '{"a":', "}"]] as const
  ) {
    it(`counts ${what}: as many as allowed pass, one more does not`, () => {
      assert.doesNotThrow(() => parse(nested(open, close, 8), 8));
      assert.throws(() => parse(nested(open, close, 9), 8), {
        name: "SyntaxError",
        message: /nested more than 8 deep$/,
      });
    });
  }

  it("does not add up what lies side by side", () => {
    assert.doesNotThrow(() => parse(`{"a":[${"[],".repeat(1000)}{}]}`, 3));
  });

  for (
    const text of [
      '{"a":"[[[[[[[["}',
      '{"a":"\\"[[[[[[[["}',
      '{"a":"\\\\","b":"[[[[[[[["}',
      '{"[[[[{{{{":1}',
    ]
  ) {
    it(`does not count brackets in strings: ${text}`, () => {
      assert.deepEqual(parse(text, 1), JSON.parse(text));
    });
  }

  it("counts brackets behind a string that ends in a backslash", () => {
    assert.throws(() => parse('{"a":"\\\\","b":[[[]]]}', 3), /nested more than 3 deep/);
  });

  it("stops at a million brackets before the stack does", () => {
    assert.throws(() => parse(`{"a":${"[".repeat(1_000_000)}`, 64), /nested more than 64 deep/);
  });

  it("never lets pass what is deeper, and never stops what is not", () => {
    const depthOf = (value: unknown): number =>
      typeof value === "object" && value !== null
        ? 1 + Math.max(0, ...Object.values(value).map(depthOf))
        : 0;
    const object = fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 5 }));
    fc.assert(fc.property(object, fc.integer({ min: 1, max: 6 }), (object, most) => {
      const text = JSON.stringify(object);
      if (depthOf(JSON.parse(text)) <= most) assert.doesNotThrow(() => parse(text, most));
      else assert.throws(() => parse(text, most), /nested more than/);
    }));
  });
});

describe("the message of parseObject's error", () => {
  function messageFor(bytes: Uint8Array): string {
    try {
      parseObject(bytes, 4);
    } catch (error) {
      return (error as Error).message;
    }
    return "";
  }

  for (
    const [what, text] of [
      ["an escape sequence", "\x1b]0;owned\x07\x1b[2J"],
      ["one that C1 begins", "\u009b2J"],
      ["a line of its own", "no\r\nsvirt-agent: all is well\n"],
      ["a delete", "\x7f\x7f\x7f"],
      ["a turned line", "\u202egni\u2066lla"],
      ["an escape sequence in a string", '{"a":"\x1b[2J"}'],
    ] as const
  ) {
    it(`cannot be used to write ${what} on a terminal`, () => {
      const message = messageFor(bytes(text));
      assert.match(message, /^Cannot read "/);
      assert(!HARMFUL.test(message), JSON.stringify(message));
    });
  }

  it("is harmless on a terminal whatever the bytes", () => {
    const anything = fc.oneof(fc.string({ unit: "binary" }).map(bytes), fc.uint8Array());
    fc.assert(fc.property(anything, (bytes) => {
      assert(!HARMFUL.test(messageFor(bytes)), JSON.stringify(messageFor(bytes)));
    }));
  });

  it("shows the beginning of a long message", () => {
    const message = messageFor(bytes("x".repeat(1_000_000)));
    assert(message.includes(`"${"x".repeat(60)}..."`));
    assert(message.length < 1000, String(message.length));
  });
});
