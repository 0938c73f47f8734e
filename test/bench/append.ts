import { join } from "node:path";
import { compare, type Row } from "./compare.ts";
import { Contender, runtimeCommand, runtimes } from "./contestant.ts";
import type { Bench } from "./measurement.ts";
import { compilePeer } from "./peer.ts";

/** Records in one round. */
const BATCH = 20;
/** 10,000 records on the runtime that matters most, enough of them on the others. */
const ROUNDS = { node: { warmUp: 10, rounds: 500 }, others: { warmUp: 10, rounds: 75 } };

/**
 * Records appended to the audit log, each on the disk when the next one comes, beside write and
 * fdatasync of the same bytes in C, on the same filesystem.
 */
export async function measureAppend({ folder, compiled, say }: Bench): Promise<Row[]> {
  const program = await compilePeer("append", folder);
  const rows: Row[] = [];
  for (const runtime of runtimes()) {
    say(`audit log on ${runtime.name}`);
    const log = join(folder, `${runtime.name}.jsonl`);
    const command = [...runtimeCommand(runtime, "test/bench/ours/append.ts", compiled), log];
    using us = Contender.start(command, runtime.name);
    // The peer writes what is in the log, so the log has to be one round ahead.
    await us.ask(String(BATCH));
    using them = Contender.start([program, log, `${log}.peer`], "append.c");
    // One record, by what a batch took.
    const round = (one: Contender) => ({
      round: async () => (await one.ask(String(BATCH)))[0]! / BATCH,
    });
    const bar = { name: `append ${runtime.name}`, unit: "us", bar: 1.5 } as const;
    const rounds = runtime.name === "node" ? ROUNDS.node : ROUNDS.others;
    rows.push(await compare(bar, round(us), round(them), rounds));
  }
  return rows;
}
