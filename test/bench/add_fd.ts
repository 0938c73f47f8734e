import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { compare, median, type Row } from "./compare.ts";
import { Contender, runtimeCommand, runtimes } from "./contestant.ts";
import type { Bench } from "./measurement.ts";
import { compilePeer } from "./peer.ts";
import { startQemu } from "./qemu.ts";

/** Round trips in one round; few, so that both sides meet the same load. */
const BATCH = 20;
const ROUNDS = { warmUp: 10, rounds: 100 };

/**
 * A descriptor into one fdset of a real QEMU and the answer back, over the product's monitor and in
 * C. Both talk to the same QEMU, each over a monitor of its own; figures are medians of one round.
 */
export async function measureAddFd({ folder, sockets, compiled, say }: Bench): Promise<Row[]> {
  const program = await compilePeer("add_fd", folder);
  const image = join(folder, "image");
  writeFileSync(image, "");
  const rows: Row[] = [];
  for (const runtime of runtimes()) {
    say(`add-fd on ${runtime.name}`);
    using qemu = await startQemu(sockets, ["-M", "none"], [
      `o-${runtime.name}`,
      `p-${runtime.name}`,
    ]);
    const [ours, peer] = qemu.monitors as [string, string];
    const script = "test/bench/ours/add_fd.ts";
    using us = Contender.start(
      [...runtimeCommand(runtime, script, compiled), ours, image],
      runtime.name,
    );
    using them = Contender.start([program, peer, image], "add_fd.c");
    const round = (one: Contender) => ({
      round: async () => median(await one.ask(String(BATCH))),
    });
    const bar = { name: `add-fd ${runtime.name}`, unit: "us", bar: 1.25, above: 60 } as const;
    rows.push(await compare(bar, round(us), round(them), ROUNDS));
  }
  return rows;
}
