import assert from "node:assert/strict";
import { cgroupOf, membersOf } from "../../agent/process/cgroup.ts";
import { processContexts } from "../../agent/process/contexts.ts";
import { descriptorsOf } from "../../agent/process/descriptor.ts";
import { avcsOf } from "./audit_log.ts";
import { must } from "./command.ts";
import { GuestWrites } from "./guest_writes.ts";
import { Holder } from "./holder.ts";
import {
  claim,
  type GuestFile,
  keepsLabels,
  logState,
  makeGuest,
  Run,
  type Storage,
  USER,
} from "./world.ts";

/** A guest that writes, and a hostile holder that kept its descriptors. */
export class Victim implements Disposable {
  readonly guest: GuestFile;
  readonly asBefore: string;
  readonly run: Run;
  readonly level: string;
  readonly writes: GuestWrites = new GuestWrites("root", "data");
  readonly #holder: Holder;
  readonly #kept: readonly number[];

  static async start(name: string, storage: Storage, env: Record<string, string>): Promise<Victim> {
    const guest = await makeGuest(name, storage, "owner");
    const asBefore = await fileState(guest.root, guest.data);
    const run = await new Run(name, guest.file, env).running();
    const [pid] = membersOf(cgroupOf(name)) as [number];
    const { context } = processContexts().find((it) => it.pid === pid)!;
    const holder = await Holder.start(context, USER);
    const kept: number[] = [];
    for (const { number, path, access } of descriptorsOf(pid)) {
      if (access !== "rw" || ![guest.root, guest.data].includes(path)) continue;
      kept.push(await holder.take(pid, number));
    }
    assert.ok(kept.length >= 2, "it keeps a descriptor of each image");
    return new Victim(guest, asBefore, run, holder, kept);
  }

  private constructor(
    guest: GuestFile,
    asBefore: string,
    run: Run,
    holder: Holder,
    kept: readonly number[],
  ) {
    [this.guest, this.asBefore, this.run] = [guest, asBefore, run];
    [this.#holder, this.#kept] = [holder, kept];
    this.level = logState().levels.get(guest.name)!;
  }

  /** The holder writes through none of the descriptors that it kept. */
  async requireNoWrite(): Promise<void> {
    for (const kept of this.#kept) {
      const said = await this.#holder.ask(`dwrite ${kept} 0`);
      assert.equal(said, "err EACCES", `descriptor ${kept}; ${this.run.output}`);
    }
  }

  /** Its holder is gone, as all of a guest is before anything is given back. */
  async endHolder(): Promise<void> {
    const { pid } = this.#holder;
    this.#holder[Symbol.dispose]();
    while (processContexts().some((it) => it.pid === pid)) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** The lab is told of the denials that the holder provoked. */
  async claimDenials(): Promise<void> {
    if (!keepsLabels(this.guest.storage)) return;
    const avcs = await avcsOf(this.#holder.pid, ({ tclass }) => tclass === "file");
    assert.ok(avcs.length > 0, "SELinux denied the writes");
    claim(avcs.map(({ serial }) => serial), "a hostile holder wrote a frozen image");
  }

  [Symbol.dispose](): void {
    this.#holder[Symbol.dispose]();
    this.run.process.kill("SIGKILL");
    for (const pid of membersOf(cgroupOf(this.guest.name))) process.kill(pid, "SIGKILL");
  }
}

/** Who owns files, with which mode and label. */
export async function fileState(...paths: string[]): Promise<string> {
  return await must("stat", "-c", "%u:%g %a %C", ...paths);
}
