import { chmodSync, chownSync, mkdirSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { lookUpUser } from "../../ffi/libc_process.ts";
import { compare, type Contestant, type Row } from "./compare.ts";
import { Contender, runtimeCommand, runtimes } from "./contestant.ts";
import type { Bench } from "./measurement.ts";
import { compilePeer, MissingError } from "./peer.ts";
import { startQemu } from "./qemu.ts";

const ROUNDS = { warmUp: 4, rounds: 21 };

/**
 * One image attached to a QEMU that has none: inspected, granted on record, opened with QEMU's
 * credential, locked, passed twice, looked for in /proc, made a disk of a machine, and recorded;
 * both records are on the disk when it ends. Each time a QEMU of its own.
 *
 * `ours/attach.ts` says what it leaves out; the peer makes the same system calls.
 */
export async function measureAttach({ folder, sockets, compiled, say }: Bench): Promise<Row[]> {
  if (process.getuid?.() !== 0) {
    throw new MissingError("it takes root to open files as QEMU's user");
  }
  const program = await compilePeer("attach", folder);
  const rows: Row[] = [];
  for (const runtime of runtimes()) {
    say(`attach on ${runtime.name}`);
    const images = (whose: string) => {
      const path = join(folder, `${runtime.name}-${whose}`);
      mkdirSync(path, { mode: 0o755 });
      // Whatever the umask is: QEMU's user has to get in.
      chmodSync(path, 0o755);
      return path;
    };
    const ours = images("ours"), peer = images("peer");
    const command = runtimeCommand(runtime, "test/bench/ours/attach.ts", compiled);
    using us = Contender.start([...command, ours, `${ours}.log`], runtime.name);
    using them = Contender.start([program, peer, `${peer}.log`], "attach.c");
    const bar = { name: `attach ${runtime.name}`, unit: "us", bar: 2 } as const;
    rows.push(
      await compare(bar, attaching(us, ours, sockets), attaching(them, peer, sockets), ROUNDS),
    );
  }
  return rows;
}

/** Attaches a new image to a new QEMU in each round. */
function attaching(contender: Contender, folder: string, sockets: string): Contestant {
  const { uid, gid } = lookUpUser("nobody")!;
  let count = 0;
  return {
    async round() {
      const image = join(folder, `image${++count}`);
      writeFileSync(image, "");
      truncateSync(image, 16 << 20);
      chownSync(image, uid, gid);
      using qemu = await startQemu(sockets, ["-M", "pc"], ["monitor"]);
      const [monitor] = qemu.monitors as [string];
      const [time] = await contender.ask(`${qemu.pid} ${monitor} ${image}`);
      return time!;
    },
  };
}
