import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { compare, holds, median, rowOf } from "../bench/compare.ts";

const BAR = { name: "work", unit: "us", bar: 1.5 } as const;

describe("the figures of the bench", () => {
  it("take the value in the middle, or the mean of the two there", () => {
    assert.equal(median([9, 1, 5]), 5);
    assert.equal(median([4, 1, 2, 3]), 2.5);
    assert.throws(() => median([]), RangeError);
  });

  it("are ratios of rounds, so that load that comes and goes meets both sides", () => {
    const row = rowOf(BAR, [[10, 10], [100, 100], [12, 10]]);
    assert.deepEqual([row.ours, row.peer, row.ratio], [12, 10, 1]);
  });

  it("hold up to their bar and not beyond", () => {
    assert.ok(holds(rowOf(BAR, [[15, 10]])));
    assert.ok(!holds(rowOf(BAR, [[15.1, 10]])));
  });

  it("hold only where the difference does, too, if there is a bar for that", () => {
    assert.ok(holds(rowOf({ ...BAR, above: 60 }, [[160, 120], [1360, 1300], [161, 100]])));
    assert.ok(!holds(rowOf({ ...BAR, above: 60 }, [[361, 300]])));
  });

  it("come from both sides in turn, without the rounds that warm up", async () => {
    const turns: string[] = [];
    const side = (name: string, first: number) => ({
      round: () => {
        turns.push(name);
        return Promise.resolve(turns.length > 4 ? first : 1000);
      },
    });
    const row = await compare(BAR, side("ours", 6), side("peer", 3), { warmUp: 2, rounds: 2 });
    assert.deepEqual([row.ours, row.peer, row.ratio], [6, 3, 2]);
    assert.deepEqual(turns, ["ours", "peer", "peer", "ours", "ours", "peer", "peer", "ours"]);
  });
});
