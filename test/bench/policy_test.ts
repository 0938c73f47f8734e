import { spawnSync } from "node:child_process";
import { globSync } from "node:fs";
import { join } from "node:path";
import { PROJECT } from "../lab/project.ts";
import { compare, type Row } from "./compare.ts";
import { runtimeCommand, runtimes } from "./contestant.ts";
import type { Bench } from "./measurement.ts";
import { largestPolicy } from "./questions.ts";

const ROUNDS = { warmUp: 1, rounds: 7 };
/** What it may take: a start, and for each distinct state of booleans. Milliseconds. */
const START = 500;
const EACH_STATE = 60;

/** `svirt-agent policy test` with the bundled invariants, beside what it may take. */
export async function measurePolicyTest({ compiled, say }: Bench): Promise<Row[]> {
  const rows: Row[] = [];
  const files = globSync(join(PROJECT, "policies/assertions/*.toml"));
  for (const runtime of runtimes()) {
    say(`policy test on ${runtime.name}`);
    const main = runtimeCommand(runtime, "agent/main.ts", compiled);
    const run = () => {
      const [program, ...args] = [...main, "policy", "test", "--policy", largestPolicy()];
      // Named, because the compiled tree lies elsewhere.
      const asJson = [...args, "--format", "json", ...files];
      const start = performance.now();
      const { status, stdout } = spawnSync(program!, asJson, { cwd: PROJECT, maxBuffer: Infinity });
      const took = performance.now() - start;
      // Debian's stock policy breaks some of them.
      if (status !== 0 && status !== 1) throw new Error(`${program} ended with ${status}`);
      return { took, states: Number(JSON.parse(String(stdout)).summary.states) };
    };
    const allowed = START + EACH_STATE * run().states;
    const bar = { name: `policy test ${runtime.name}`, unit: "ms", bar: 1 } as const;
    const us = { round: () => Promise.resolve(run().took) };
    rows.push(await compare(bar, us, { round: () => Promise.resolve(allowed) }, ROUNDS));
  }
  return rows;
}
