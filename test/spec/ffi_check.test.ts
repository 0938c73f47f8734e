import { describe, it } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import type { LibraryHandle } from "koffi";
import { bind } from "../../ffi/check.ts";

/** A library whose functions answer with what they were called with: the world behind the wall. */
const C = { func: () => (...args: unknown[]) => args } as unknown as LibraryHandle;

function takes(...parameters: string[]): (...args: unknown[]) => unknown[] {
  return bind(C, `int f(${parameters.map((type, i) => `${type} p${i}`).join(", ")})`);
}

describe("a string of C", () => {
  const open = takes("const char *");

  it("arrives as it is, whatever it holds but NUL", () => {
    fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => {
      if (text.includes("\0")) assert.throws(() => open(text), TypeError);
      else assert.deepEqual(open(text), [text]);
    }));
  });

  it('holds no NUL: C would open /etc/passwd for "/etc/passwd\\0.img"', () => {
    assert.throws(() => open("/etc/passwd\0.img"), {
      name: "TypeError",
      message: 'Cannot call f with "/etc/passwd\\u0000.img": it holds a NUL byte',
    });
  });

  for (
    const [value, misread] of [
      [0x1000, "read the memory at that address"],
      [4096n, "read the memory at that address"],
      [undefined, 'get NULL, which is some functions\' word for "everything"'],
      [true, "get whatever the conversion makes of it"],
      [["a"], "get the address of an array"],
    ] as const
  ) {
    it(`is not ${typeof value} ${String(value)}: C would ${misread}`, () => {
      assert.throws(() => open(value), {
        name: "TypeError",
        message: "Cannot call f: not a string",
      });
    });
  }

  it("may be null where the man page allows NULL", () => assert.deepEqual(open(null), [null]));
});

describe("a list of strings of C", () => {
  const execve = takes("const char **");

  it("arrives with the null that ends it", () => {
    assert.deepEqual(execve(["/bin/true", "--x", null]), [["/bin/true", "--x", null]]);
  });

  it("holds no NUL in any of them: execve would cut that argument short", () => {
    assert.throws(() => execve(["qemu", "-drive\0,readonly=on", null]), {
      name: "TypeError",
      message: /holds a NUL byte/,
    });
  });

  it("ends in null: execve would read on behind it", () => {
    assert.throws(() => execve(["qemu"]), TypeError);
    assert.throws(() => execve([]), TypeError);
    assert.throws(() => execve(null), TypeError);
  });

  it("holds no number: execve would take it for the address of an argument", () => {
    assert.throws(() => execve(["qemu", 5, null]), TypeError);
  });
});

describe("an integer of C", () => {
  const int = takes("int");

  for (
    const [value, misread] of [
      [NaN, "get 0, which is stdin"],
      [1.5, "get 1"],
      [Infinity, "get anything"],
      [2 ** 53, "get a neighbour: the number stands for several integers"],
      ["3", "get 0 or an address"],
      [undefined, "get 0"],
      [null, "get 0"],
      [true, "get 1"],
      [{ number: 3 }, "get 0"],
    ] as const
  ) {
    it(`is not ${typeof value} ${JSON.stringify(value) ?? ""}${String(value)}: C would ${misread}`, () => {
      assert.throws(() => int(value), {
        name: "TypeError",
        message: /^Cannot call f: .* no integer$/,
      });
    });
  }

  const RANGES = [
    ["int", -(2n ** 31n), 2n ** 31n - 1n],
    ["unsigned int", 0n, 2n ** 32n - 1n],
    ["uint32_t", 0n, 2n ** 32n - 1n],
    ["uint16_t", 0n, 2n ** 16n - 1n],
    ["long", -(2n ** 63n), 2n ** 63n - 1n],
    ["int64_t", -(2n ** 63n), 2n ** 63n - 1n],
    ["uint64_t", 0n, 2n ** 64n - 1n],
    ["size_t", 0n, 2n ** 64n - 1n],
  ] as const;

  for (const [type, min, max] of RANGES) {
    it(`of type ${type} goes from ${min} to ${max}: C would wrap what lies outside`, () => {
      const f = takes(type);
      for (const inside of [min, 0n, 1n, max]) assert.deepEqual(f(inside), [inside]);
      for (const outside of [min - 1n, max + 1n]) {
        assert.throws(() => f(outside), {
          name: "RangeError",
          message: `Cannot call f: ${outside} is no ${type}`,
        });
      }
    });

    it(`of type ${type} is in range, or C is not called`, () => {
      const f = takes(type);
      fc.assert(fc.property(fc.bigInt({ min: -(2n ** 65n), max: 2n ** 65n }), (value) => {
        if (value >= min && value <= max) assert.deepEqual(f(value), [value]);
        else assert.throws(() => f(value), RangeError);
      }));
    });
  }

  it("of type int is not 2**32 + 5: C would use descriptor 5", () => {
    assert.throws(() => int(2 ** 32 + 5), RangeError);
  });

  it("of type unsigned int is not -1: C would get 4294967295, chown's word for no change", () => {
    assert.throws(() => takes("unsigned int")(-1), RangeError);
  });
});

describe("a pointer of C", () => {
  const read = takes("void *");

  it("is memory or null", () => {
    const memory = new Uint8Array(4);
    assert.deepEqual(read(memory), [memory]);
    assert.deepEqual(read(null), [null]);
  });

  for (const value of [0, 4096, "text"]) {
    it(`is not ${typeof value} ${value}: C would write to that address, or into a copy`, () => {
      assert.throws(() => read(value), {
        name: "TypeError",
        message: `Cannot call f: ${typeof value} for void *`,
      });
    });
  }
});

describe("a call of C", () => {
  it("has as many arguments as the prototype: C would find the rest in a register", () => {
    const f = takes("int", "const char *");
    for (const args of [[], [1], [1, "a", 2]]) {
      assert.throws(() => f(...args), {
        name: "TypeError",
        message: `Cannot call f: ${args.length} arguments, 2 wanted`,
      });
    }
    assert.deepEqual(f(1, "a"), [1, "a"]);
  });

  it("of a function without parameters has none", () => {
    const f = bind(C, "int f(void)");
    assert.deepEqual(f(), []);
    assert.throws(() => f(0), TypeError);
  });

  it("names the function, not its type: char *f(int a) is f", () => {
    assert.throws(
      () => bind(C, "const char *name_of(int a)")("x"),
      /^TypeError: Cannot call name_of:/,
    );
  });

  it("cannot be bound with a type that nobody thought about", () => {
    assert.throws(() => bind(C, "int f(double a)"), {
      name: "SyntaxError",
      message: 'Cannot check type "double" of f: add it to ffi/check.ts',
    });
    assert.throws(() => bind(C, "int f"), SyntaxError);
  });
});

describe("a variadic call of C", () => {
  const syscall = bind(C, "long syscall(long number, ...)");

  it("takes pairs of type and value behind its named arguments", () => {
    const args = [437, "int", -100, "str", "/a", "void *", null, "size_t", 24];
    assert.deepEqual(syscall(...args), args);
    assert.deepEqual(syscall(39), [39]);
  });

  for (
    const [args, misread, name] of [
      [["str", "/a\0b"], "open /a", "TypeError"],
      [["int", 2 ** 32], "get 0", "RangeError"],
      [["int", NaN], "get 0", "TypeError"],
      [["int"], "find the value in a register", "TypeError"],
      [["unsigned int", -1], "get 4294967295", "RangeError"],
      [["void *", 4096], "write to address 4096", "TypeError"],
      [["double", 1], "look for it in another register", "SyntaxError"],
      [[7, 7], "have no type to go by", "SyntaxError"],
      [["str", 7], "read address 7", "TypeError"],
    ] as const
  ) {
    it(`refuses ${JSON.stringify(args)}: C would ${misread}`, () => {
      assert.throws(() => syscall(1, ...args), { name });
    });
  }

  it("needs its named arguments all the same", () => {
    assert.throws(() => syscall(), { name: "TypeError", message: /0 arguments, 1 wanted/ });
  });
});
