import { spawnSync } from "node:child_process";
import { PROJECT } from "../lab/project.ts";
import { compare, type Row } from "./compare.ts";
import { runtimeCommand, runtimes } from "./contestant.ts";
import type { Bench } from "./measurement.ts";

const ROUNDS = { warmUp: 2, rounds: 21 };

/** `svirt-agent --help` beside a program of the same runtime that does nothing. */
export async function measureColdStart({ compiled, say }: Bench): Promise<Row[]> {
  const rows: Row[] = [];
  for (const runtime of runtimes()) {
    say(`cold start on ${runtime.name}`);
    const ours = [...runtimeCommand(runtime, "agent/main.ts", compiled), "--help"];
    const empty = runtimeCommand(runtime, "test/bench/ours/nothing.ts", compiled);
    const bar = { name: `--help ${runtime.name}`, unit: "ms", bar: 2 } as const;
    rows.push(await compare(bar, starting(ours), starting(empty), ROUNDS));
  }
  return rows;
}

function starting(command: readonly string[]) {
  const [program, ...args] = command as [string, ...string[]];
  return {
    round(): Promise<number> {
      const start = performance.now();
      const { status } = spawnSync(program, args, { cwd: PROJECT, stdio: "ignore" });
      const took = performance.now() - start;
      if (status !== 0) {
        return Promise.reject(new Error(`${command.join(" ")} ended with ${status}`));
      }
      return Promise.resolve(took);
    },
  };
}
