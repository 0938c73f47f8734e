import { describe, it } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import {
  CategoriesExhausted,
  chooseLevel,
  dominates,
  formatLevel,
  formatRange,
  type Level,
  overlaps,
  parseLevel,
  parseRange,
} from "../../agent/label/level.ts";

const ALL = { low: 0, high: 1023 };

const levels = fc.record({
  sensitivity: fc.nat(15),
  categories: fc.array(fc.nat(1023), { maxLength: 20 }).chain((some) =>
    // Neighbours on purpose: runs of two and of three are printed differently.
    fc.nat(3).map((run) =>
      new Set(some.flatMap((c) => [c, ...Array.from({ length: run }, (_, i) => (c + i) % 1024)]))
    )
  ),
});

/** A seeded generator: the same numbers in every runtime. */
function seeded(seed: number): (n: number) => number {
  let state = seed >>> 0;
  return (n) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state % n;
  };
}

describe("a level", () => {
  for (
    const [text, categories, printed] of [
      ["s0", [], "s0"],
      ["s0:c5", [5], "s0:c5"],
      ["s0:c1,c5", [1, 5], "s0:c1,c5"],
      ["s0:c5,c1", [1, 5], "s0:c1,c5"],
      ["s0:c0.c3,c7", [0, 1, 2, 3, 7], "s0:c0.c3,c7"],
      ["s0:c0.c1", [0, 1], "s0:c0,c1"],
      ["s0:c0,c1,c2", [0, 1, 2], "s0:c0.c2"],
      ["s0:c1021.c1023", [1021, 1022, 1023], "s0:c1021.c1023"],
    ] as const
  ) {
    it(`"${text}" has categories {${categories}} and is printed ${printed}`, () => {
      const level = parseLevel(text);
      assert.deepEqual([...level.categories].sort((a, b) => a - b), categories);
      assert.equal(formatLevel(level), printed);
    });
  }

  it("is read back as it was printed", () => {
    fc.assert(fc.property(levels, (level) => {
      const again = parseLevel(formatLevel(level));
      assert.equal(again.sensitivity, level.sensitivity);
      assert.deepEqual([...again.categories], [...level.categories].sort((a, b) => a - b));
      assert.equal(formatLevel(again), formatLevel(level));
    }));
  });

  // deno-fmt-ignore
  const wrong = ["", "s", "c1", "s0:", "s0:c", "s0:1", "s0:c1,", "s0:c1..c3", "s0:c3.c1", "s0:c3.c3", "s0:c1.c2.c3",
    "s0 :c1", "s0:c70000", "s0:c0.c4000000000", "SystemLow", "s0:c1-s0", "s0-s0-s0", "s1-s0", "s0:c1-s0:c2", "s0\n"];
  for (const text of wrong) {
    it(`is not ${JSON.stringify(text)}`, () => assert.throws(() => parseRange(text), SyntaxError));
  }
});

describe("a range", () => {
  it("has a low and a high level", () => {
    const { low, high } = parseRange("s0-s0:c0.c1023");
    assert.equal(low.categories.size, 0);
    assert.equal(high.categories.size, 1024);
  });

  it("of one level is that level twice, and printed once", () => {
    assert.equal(formatRange(parseRange("s0:c1,c2-s0:c1,c2")), "s0:c1,c2");
  });

  it("is read back as it was printed", () => {
    fc.assert(fc.property(levels, levels, (low, more) => {
      const categories = new Set([...low.categories, ...more.categories]);
      const range = { low, high: { sensitivity: low.sensitivity, categories } };
      assert.equal(formatRange(parseRange(formatRange(range))), formatRange(range));
    }));
  });
});

describe("dominates", () => {
  for (
    const [a, b, forward, backward] of [
      ["s0:c1,c2", "s0:c1,c2", true, true],
      ["s0:c1,c2", "s0:c1,c3", false, false],
      ["s0:c1.c3", "s0:c1,c3", true, false],
      ["s0:c1", "s0", true, false],
      ["s1", "s0", true, false],
      ["s1:c1", "s0:c2", false, false],
    ] as const
  ) {
    it(`${a} ${forward ? "dominates" : "does not dominate"} ${b}, and back ${backward}`, () => {
      assert.equal(dominates(parseLevel(a), parseLevel(b)), forward);
      assert.equal(dominates(parseLevel(b), parseLevel(a)), backward);
    });
  }

  it("is a partial order", () => {
    fc.assert(fc.property(levels, levels, levels, (a, b, c) => {
      assert(dominates(a, a));
      if (dominates(a, b) && dominates(b, a)) assert.equal(formatLevel(a), formatLevel(b));
      if (dominates(a, b) && dominates(b, c)) assert(dominates(a, c));
    }));
  });
});

describe("overlaps", () => {
  it("is true of levels with a category in common, whichever comes first", () => {
    fc.assert(fc.property(levels, levels, (a, b) => {
      const common = [...a.categories].some((category) => b.categories.has(category));
      assert.equal(overlaps(a, b), common);
      assert.equal(overlaps(b, a), common);
    }));
  });
});

describe("chooseLevel", () => {
  it("answers two different categories of the range, the lower first", () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat(1000), fc.integer({ min: 1, max: 23 }), (seed, low, n) => {
        const chosen = chooseLevel([], { low, high: low + n }, seeded(seed));
        const [one, other] = /^s0:c(\d+),c(\d+)$/.exec(chosen)!.slice(1).map(Number);
        assert(low <= one! && one! < other! && other! <= low + n);
      }),
    );
  });

  it("never answers a level that one in use dominates or that dominates one in use", () => {
    const inUse = fc.array(fc.array(fc.nat(11), { minLength: 1, maxLength: 4 }), { maxLength: 20 });
    fc.assert(fc.property(fc.nat(), inUse, (seed, sets) => {
      const used: Level[] = sets.map((set) => ({ sensitivity: 0, categories: new Set(set) }));
      const small = { low: 0, high: 11 };
      let chosen: Level;
      try {
        chosen = parseLevel(chooseLevel(used.map(formatLevel), small, seeded(seed)));
      } catch (error) {
        assert(error instanceof CategoriesExhausted);
        return;
      }
      for (const level of used) assert(!dominates(level, chosen) && !dominates(chosen, level));
    }));
  });

  for (
    const [what, inUse, wanted] of [
      ["not the pair of another guest", ["s0:c0,c1", "s0:c0,c2"], "s0:c1,c2"],
      ["no pair with the only category of an image", ["s0:c0"], "s0:c1,c2"],
      ["beside a level without categories, which is everybody's", ["s0", "s0:c0"], "s0:c1,c2"],
      ["beside processes with all categories, which are no guests", [
        "s0-s0:c0.c2",
        "s0-s0:c0.c1023",
        "s0:c0,c1",
        "s0:c0,c2",
      ], "s0:c1,c2"],
    ] as const
  ) {
    it(`chooses ${what}`, () => {
      for (let seed = 0; seed < 20; seed++) {
        assert.equal(chooseLevel(inUse, { low: 0, high: 2 }, seeded(seed)), wanted);
      }
    });
  }

  it("counts a guest with many categories: its process could open every image within", () => {
    const inUse = ["s0:c0.c9"];
    for (let seed = 0; seed < 20; seed++) {
      const level = parseLevel(chooseLevel(inUse, { low: 0, high: 11 }, seeded(seed)));
      assert(!dominates(parseLevel("s0:c0.c9"), level));
    }
  });

  it("leaves to its caller which levels count", () => {
    const counts = () => false;
    assert.equal(chooseLevel(["s0:c0,c1"], { low: 0, high: 1 }, () => 0, { counts }), "s0:c0,c1");
  });

  it("finds the last free pair when chance does not", () => {
    const inUse: string[] = [];
    for (let one = 0; one < 40; one++) {
      for (let other = one + 1; other < 40; other++) inUse.push(`s0:c${one},c${other}`);
    }
    const free = inUse.splice(500, 1);
    assert.equal(chooseLevel(inUse, { low: 0, high: 39 }, () => 0), free[0]);
  });

  it("uses up the whole range and then says so", () => {
    const inUse: string[] = [];
    const range = { low: 10, high: 29 };
    for (let i = 0; i < 190; i++) inUse.push(chooseLevel(inUse, range, seeded(i)));
    assert.equal(new Set(inUse).size, 190);
    assert.throws(() => chooseLevel(inUse, range, seeded(1)), {
      name: "CategoriesExhausted",
      message: "No two categories of c10.c29 are free: 190 levels are in use",
    });
  });

  it("finds one of 500,000 pairs at once beside a thousand guests", () => {
    const inUse: string[] = [];
    for (let i = 0; i < 1000; i++) inUse.push(chooseLevel(inUse, ALL, seeded(i * 7919)));
    assert.equal(new Set(inUse).size, 1000);
  });

  it("does not guess at a level in use that it cannot read", () => {
    assert.throws(() => chooseLevel(["SystemHigh"], ALL, seeded(1)), SyntaxError);
  });

  for (const range of [{ low: 5, high: 5 }, { low: -1, high: 5 }, { low: 0, high: NaN }]) {
    it(`cannot choose from c${range.low}.c${range.high}`, () => {
      assert.throws(() => chooseLevel([], range, seeded(1)), RangeError);
    });
  }
});
