import { placeOf } from "../../agent/process/place.ts";
import { createSocketAt } from "../../agent/label/socket.ts";
import { Monitor } from "../../agent/qmp/monitor.ts";
import { must } from "./command.ts";
import { guestIo } from "./guest_io.ts";
import type { Run } from "./world.ts";

/** QEMU as a guest's device sees it: answers what qemu-io said. */
export type DeviceIo = (image: string, text: string) => Promise<string>;

const LENGTH = 4096;
const STRIDE = 2 * LENGTH;

/**
 * A guest that writes without a pause: numbered patterns at growing offsets of its images in turn, each
 * flushed before the next, and what was acknowledged is noted.
 */
export class GuestWrites {
  readonly #images: readonly string[];
  readonly #acknowledged: { readonly image: string; readonly number: number }[] = [];
  #next = 0;
  #ended: Error | undefined;

  constructor(...images: string[]) {
    this.#images = images;
  }

  get count(): number {
    return this.#acknowledged.length;
  }

  /** Writes until QEMU or who answers for it is gone. */
  async untilGone(io: DeviceIo): Promise<void> {
    try {
      for (;;) await this.once(io);
    } catch (error) {
      // What it was at is not acknowledged: it may be there, or not.
      this.#ended = error as Error;
    }
  }

  /** One write. @throws when it is not acknowledged. */
  async once(io: DeviceIo): Promise<void> {
    const number = this.#next++;
    const image = this.#images[number % this.#images.length]!;
    for (const text of [write(number), "flush"]) {
      const said = await io(image, text);
      if (/fail|error|denied/i.test(said)) throw new Error(`${image}: ${text}: ${said}`);
    }
    this.#acknowledged.push({ image, number });
  }

  /** Until this many were acknowledged. @throws why there will not be as many. */
  async reaches(count: number): Promise<void> {
    while (this.count < count) {
      if (this.#ended !== undefined) throw this.#ended;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  /** @throws naming what was acknowledged and is not in this chain. */
  async requireIn(image: string, top: string, format: string): Promise<void> {
    const reads = this.#acknowledged.filter((it) => it.image === image)
      .flatMap(({ number }) => ["-c", `read -P ${pattern(number)} ${number * STRIDE} ${LENGTH}`]);
    const said = await must("qemu-io", "-r", "-U", "-f", format, ...reads, top);
    if (/fail|error|denied/i.test(said)) throw new Error(`${top}: ${said}`);
  }
}

function write(number: number): string {
  return `write -P ${pattern(number)} ${number * STRIDE} ${LENGTH}`;
}

/** Never that of the base, nor of a hole. */
function pattern(number: number): number {
  return number % 0xb0 + 1;
}

/** Through the agent that guards the guest. */
export function throughAgent(run: Run): DeviceIo {
  return (image, text) => run.io(image, text);
}

/** Straight through QEMU's monitor, which takes one connection: its agent is dead. */
export async function throughMonitor(
  guest: string,
  level: string,
): Promise<{ readonly io: DeviceIo } & Disposable> {
  const { monitor: path } = placeOf(guest, { runtimeFolder: "/run/svirt-agent" });
  const monitor = await Monitor.connect(createSocketAt(level, path), path);
  return {
    io: async (image, text) => String(await monitor.execute(...guestIo(image, text))),
    [Symbol.dispose]: () => monitor[Symbol.dispose](),
  };
}
