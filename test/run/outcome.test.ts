import { readdirSync } from "node:fs";
import { deepEqual, equal } from "node:assert/strict";
import { describe, it } from "node:test";
import { formatCounts, readCounts, readSkipped, type Runner } from "./counts.ts";
import { judge, outcomeLine } from "./outcome.ts";
import { BOOTS, LIVE, type Step, STEPS } from "./steps.ts";

/** Ends of real runs. */
const SUMMARIES: [Runner, what: string, output: string, ReturnType<typeof readCounts>][] = [
  [
    "node",
    "reporter spec",
    "ℹ tests 6\nℹ suites 2\nℹ pass 2\nℹ fail 1\nℹ cancelled 1\nℹ skipped 1\nℹ todo 1\n",
    { passed: 2, failed: 2, skipped: 2 },
  ],
  [
    "node",
    "reporter tap",
    "# tests 3\n# pass 3\n# fail 0\n# cancelled 0\n# skipped 0\n# todo 0\n",
    { passed: 3, failed: 0, skipped: 0 },
  ],
  ["deno", "all well", "\nok | 42 passed (569 steps) | 0 failed (16s)\n", {
    passed: 42,
    failed: 0,
    skipped: 0,
  }],
  [
    "deno",
    "a failure",
    "\nFAILED | 41 passed (560 steps) | 1 failed (2 steps) | 3 ignored (1s)\n",
    {
      passed: 41,
      failed: 1,
      skipped: 3,
    },
  ],
  ["bun", "all well", "\n 568 pass\n 0 fail\nRan 568 tests across 19 files. [11.10s]\n", {
    passed: 568,
    failed: 0,
    skipped: 0,
  }],
  ["bun", "failures", " 5 pass\n 2 skip\n 1 todo\n 1 fail\n 1 error\nRan 9 tests\n", {
    passed: 5,
    failed: 2,
    skipped: 3,
  }],
];

describe("readCounts", () => {
  for (const [runner, what, output, counts] of SUMMARIES) {
    it(`reads the summary of ${runner}, ${what}`, () => {
      deepEqual(readCounts(runner, output), counts);
    });
  }

  it("takes a runner that ended without a summary for one that ran no test", () => {
    deepEqual(readCounts("node", "node: bad option\n"), { passed: 0, failed: 0, skipped: 0 });
  });
});

describe("readSkipped", () => {
  it("gives Node's skipped tests with their reasons", () => {
    const output = "✔ a (1ms)\n  ﹣ b (0.2ms) # qemu-img is missing\n";
    deepEqual(readSkipped("node", output), ["﹣ b (0.2ms) # qemu-img is missing"]);
  });

  it("gives the names where Deno and Bun keep the reasons to themselves", () => {
    deepEqual(readSkipped("deno", "a ... ok (1ms)\nb ... ignored (0ms)\n"), [
      "b ... ignored (0ms)",
    ]);
    deepEqual(readSkipped("bun", "(pass) a\n(skip) b\n"), ["(skip) b"]);
  });
});

describe("judge", () => {
  const spec: Step = { name: "node", command: ["node"], limitSeconds: 1, runner: "node" };
  const live: Step = { ...spec, name: LIVE, inLab: true };
  const summary = (pass: number, fail: number, skipped: number) =>
    `ℹ pass ${pass}\nℹ fail ${fail}\nℹ cancelled 0\nℹ skipped ${skipped}\nℹ todo 0\n`;
  const failuresOf = (step: Step, status: number | string, output: string) =>
    judge(step, { status, output }, 1).failures;

  it("is content with status 0 and passed tests", () => {
    deepEqual(failuresOf(spec, 0, summary(3, 0, 0)), []);
  });
  it("fails a step by its exit status, also when all tests passed: a denial nobody claimed", () => {
    deepEqual(failuresOf(live, 1, summary(3, 0, 0)), ["exit status 1"]);
  });
  it("fails a step that reports a failed test and status 0", () => {
    deepEqual(failuresOf(spec, 0, summary(3, 1, 0)), ["1 failed"]);
  });
  it("fails a runner that ran no test", () => {
    deepEqual(failuresOf(spec, 0, summary(0, 0, 0)), ["ran no test"]);
    deepEqual(failuresOf(spec, 0, ""), ["ran no test"]);
  });
  it("fails a runner that skipped all its tests", () => {
    deepEqual(failuresOf(spec, 0, summary(0, 0, 4)), ["ran no test"]);
  });
  it("lets a spec test be skipped, but no live test", () => {
    deepEqual(failuresOf(spec, 0, summary(3, 0, 1)), []);
    deepEqual(failuresOf(live, 0, summary(3, 0, 1)), ["1 skipped in the lab"]);
  });
  it("says why a step was ended", () => {
    deepEqual(failuresOf(spec, "not done after 1 s", summary(3, 0, 0)), ["not done after 1 s"]);
  });
  it("counts a step that failed without a failing test as one failure", () => {
    const types: Step = { name: "types", command: ["tsc"], limitSeconds: 1 };
    const outcome = judge(types, { status: 2, output: "error TS1" }, 0.5);
    equal(formatCounts(outcome.counts), "0 passed, 1 failed");
    equal(outcomeLine(outcome, ""), "types           0.5 s  FAILED (exit status 2)");
  });
});

describe("formatCounts", () => {
  it("mentions skipped tests only where there are any", () => {
    equal(formatCounts({ passed: 3, failed: 0, skipped: 0 }), "3 passed, 0 failed");
    equal(formatCounts({ passed: 3, failed: 1, skipped: 2 }), "3 passed, 1 failed, 2 skipped");
  });
});

describe("the steps", () => {
  it("put everything that needs the lab last, the live tests before the rest of it", () => {
    const inLab = STEPS.map(({ inLab = false }) => inLab);
    deepEqual(inLab, inLab.toSorted());
    const names = STEPS.filter((step) => step.inLab).map(({ name }) => name);
    deepEqual(names, [...BOOTS.map(({ name }) => `${LIVE}-${name}`), "oracle", "start"]);
  });

  it("run every live test", () => {
    const there = readdirSync("test/live").filter((file) => file.endsWith(".test.ts"));
    const run = new Set(BOOTS.flatMap(({ tests }) => tests.map((test) => `${test}.test.ts`)));
    deepEqual([...run].sort(), there.sort());
  });
});
