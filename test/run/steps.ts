import type { Runner } from "./counts.ts";

/** One part of `npm test`: a command that ends with 0 when all is well. */
export interface Step {
  readonly name: string;
  readonly command: readonly [string, ...string[]];
  readonly limitSeconds: number;
  /** Its output ends with this runner's summary, which has to name at least one test. */
  readonly runner?: Runner;
  /** Boots the lab, and says itself how far it is. */
  readonly inLab?: true;
}

/** What shows that SELinux really denies: a run without any of these proves little. */
export const LIVE = "live";

/** Tests of one boot of the lab; what is long, or changes the whole host, has one of its own. */
interface Boot {
  /** Behind `live-`. */
  readonly name: string;
  readonly release: "12" | "13";
  /** What runs the agent, compiled; the tests themselves run on Node. */
  readonly runtime?: "deno" | "bun" | "node22";
  /** With policies that are broken on purpose. */
  readonly sabotage?: true;
  /** Of test/live. */
  readonly tests: readonly string[];
}

// deno-fmt-ignore
export const BOOTS: readonly Boot[] = [
  // The longest first: two at a time, and none is left alone at the end.
  { name: "snapshots", release: "13", tests: ["snapshot_killed"] },
  { name: "races", release: "13", tests: ["races"] },
  { name: "storage", release: "13", tests: ["storage", "fence", "canary", "watch"] },
  { name: "mistakes", release: "13", tests: ["mistakes", "bad_input", "interrupted", "full_disk", "dropped"] },
  { name: "people", release: "13", tests: ["people", "snapshot", "pending"] },
  { name: "sabotage", release: "13", sabotage: true, tests: ["sabotage", "boolean", "range"] },
  { name: "hostile", release: "13", tests: ["hostile", "forger"] },
  { name: "killed", release: "13", tests: ["killed", "canary_killed"] },
  { name: "raced", release: "13", tests: ["raced_guest"] },
  { name: "12", release: "12", tests: ["pending", "snapshot", "fence", "dropped"] },
  { name: "devices", release: "13", tests: ["block", "block_frozen", "block_killed"] },
  { name: "devices-12", release: "12", tests: ["block", "block_frozen", "block_killed"] },
  { name: "deno", release: "13", runtime: "deno", tests: ["snapshot", "fence"] },
  { name: "bun", release: "13", runtime: "bun", tests: ["snapshot", "fence"] },
  { name: "node22", release: "13", runtime: "node22", tests: ["snapshot", "fence"] },
  { name: "modules", release: "13", tests: ["policy_modules"] },
  { name: "booted", release: "13", tests: ["booted"] },
  { name: "policy-12", release: "12", tests: ["policy", "policy_test", "explain"] },
  { name: "policy", release: "13", tests: ["policy", "policy_test", "matrix", "explain"] },
];

/** Everything is slow under emulation; the whole of `npm test` has 90 minutes in CI. */
const LIVE_SECONDS = 2400;

function live({ name, release, runtime, sabotage, tests }: Boot): Step {
  return {
    name: `${LIVE}-${name}`,
    command: [
      ...["node", "test/lab/main.ts", "run", "--release", release, "--out", `.lab/live-${name}`],
      ...["--time-limit", String(LIVE_SECONDS), ...sabotage ? ["--sabotage"] : [], "--"],
      ...runtime === undefined ? [] : ["env", `LAB_RUNTIME=${runtime}`],
      ...["node", "--test", "--test-concurrency=1", "--test-reporter=spec"],
      ...tests.map((test) => `dist/test/live/${test}.test.js`),
    ] as [string, ...string[]],
    // The first one builds the image.
    limitSeconds: LIVE_SECONDS + 1500,
    runner: "node",
    inLab: true,
  };
}

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
  ...BOOTS.map(live),
  // After the lab was built: it asks about Debian's policy.
  {
    name: "oracle",
    command: ["node", "--test", "--test-reporter=spec", "test/oracle/setools.test.ts"],
    limitSeconds: 900,
    runner: "node",
    inLab: true,
  },
  { name: "start", command: ["node", "test/lab/start.ts"], limitSeconds: 1800, inLab: true },
];
