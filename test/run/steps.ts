import type { Runner } from "./counts.ts";

/** One part of `npm test`: a command that ends with 0 when all is well. */
export interface Step {
  readonly name: string;
  readonly command: readonly [string, ...string[]];
  readonly limitSeconds: number;
  /** Its output ends with this runner's summary, which has to name at least one test. */
  readonly runner?: Runner;
  /** Boots the lab: takes both processors, and says itself how far it is. */
  readonly inLab?: true;
}

/** What shows that SELinux really denies: a run without it proves little. */
export const LIVE = "live";

/** Where the live tests leave what they leave; `start` comes after them and uses lab-out. */
const LIVE_OUT = ".lab/live";

/** Debian 12 has an older kernel, QEMU and libselinux: what differs there. */
export const LIVE_12 = "live-12";
const TESTS_12 = ["pending"];

/** The agent, compiled, on the other runtimes; the tests themselves run on Node. */
const RUNTIMES = ["deno", "bun", "node22"] as const;
const TESTS_RUNTIMES = ["snapshot", "fence", "dropped"];

/** Images and kernels are slow under emulation; the whole of `npm test` has 90 minutes in CI. */
const LIVE_SECONDS = 1800;

// deno-fmt-ignore
export const STEPS: readonly Step[] = [
  {
    name: "formatting",
    command: ["deno", "fmt", "--check", "agent", "ffi", "test", "policies", "deno.json"],
    limitSeconds: 60,
  },
  { name: "lint", command: ["deno", "lint", "agent", "ffi", "test"], limitSeconds: 60 },
  { name: "types", command: ["tsc", "--noEmit"], limitSeconds: 120 },
  {
    name: "node",
    command: [
      "node", "--test", "--test-reporter=spec", "test/spec/**/*.test.ts", "test/run/**/*.test.ts",
    ],
    limitSeconds: 300,
    runner: "node",
  },
  {
    name: "deno",
    command: ["deno", "test", "--allow-all", "--no-check", "test/spec", "test/run"],
    limitSeconds: 300,
    runner: "deno",
  },
  { name: "bun", command: ["bun", "test", "./test/spec", "./test/run"], limitSeconds: 300, runner: "bun" },
  {
    name: "node22",
    command: [
      "sh", "-c",
      "rm -rf dist && tsc && node22 --test --test-reporter=spec 'dist/test/{spec,run}/**/*.test.js'",
    ],
    limitSeconds: 300,
    runner: "node",
  },
  {
    name: LIVE,
    command: [
      "node", "test/lab/main.ts", "run", "--release", "13", "--out", LIVE_OUT,
      "--time-limit", String(LIVE_SECONDS), "--sabotage", "--",
      "node", "--test", "--test-concurrency=1", "--test-reporter=spec", "dist/test/live/**/*.test.js",
    ],
    // The first run builds the image.
    limitSeconds: LIVE_SECONDS + 1500,
    runner: "node",
    inLab: true,
  },
  {
    name: LIVE_12,
    command: [
      "node", "test/lab/main.ts", "run", "--release", "12", "--out", ".lab/live-12",
      "--time-limit", String(LIVE_SECONDS), "--",
      "node", "--test", "--test-concurrency=1", "--test-reporter=spec",
      ...TESTS_12.map((name) => `dist/test/live/${name}.test.js`),
    ],
    limitSeconds: LIVE_SECONDS + 1500,
    runner: "node",
    inLab: true,
  },
  ...RUNTIMES.map((runtime): Step => ({
    name: `live-${runtime}`,
    command: [
      "node", "test/lab/main.ts", "run", "--release", "13", "--out", `.lab/live-${runtime}`,
      "--time-limit", String(LIVE_SECONDS), "--", "env", `LAB_RUNTIME=${runtime}`,
      "node", "--test", "--test-concurrency=1", "--test-reporter=spec",
      ...TESTS_RUNTIMES.map((name) => `dist/test/live/${name}.test.js`),
    ],
    limitSeconds: LIVE_SECONDS + 1500,
    runner: "node",
    inLab: true,
  })),
  { name: "start", command: ["node", "test/lab/start.ts"], limitSeconds: 1800, inLab: true },
];
