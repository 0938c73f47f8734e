import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { once } from "node:events";
import { type Identity, identityOf } from "../../agent/owned_fd.ts";
import { statx } from "../../ffi/libc.ts";
import { must } from "./command.ts";
import { STORAGE, type Storage } from "./world.ts";

const PROGRAM = "/usr/libexec/svirt-lab/racer";

/** Lies in no folder of agent.toml; labelled so that no agent and no guest may read it. */
const OUTSIDE = "/var/lib/outside";

/** What the racer swaps: an image over a private base. */
const NAMES = ["root.qcow2", "base.raw"] as const;

/** Two guests' folders, with files of the same names, and the same outside of the allowed folders. */
export interface Track {
  readonly folder: string;
  readonly mine: { readonly root: string; readonly base: string };
  readonly theirs: { readonly root: string; readonly base: string };
  /** The guest's own files. */
  readonly own: ReadonlySet<Identity>;
  /** What it must never get. */
  readonly forbidden: ReadonlySet<Identity>;
  /** Owner, mode, label and content of everything that is not the guest's. */
  others(): Promise<string>;
}

/** Makes the folders and images that a racer races on. */
export async function makeTrack(storage: Storage): Promise<Track> {
  const folder = `${STORAGE[storage]}/race`;
  for (const path of [folder, OUTSIDE]) rmSync(path, { recursive: true, force: true });
  for (const name of ["mine", "theirs", "park"]) {
    mkdirSync(`${folder}/${name}`, { recursive: true });
  }
  mkdirSync(OUTSIDE);
  const files = (path: string) => ({ root: `${path}/root.qcow2`, base: `${path}/base.raw` });
  const [mine, theirs, outside] = [`${folder}/mine`, `${folder}/theirs`, OUTSIDE].map(files);
  for (const { root, base } of [mine!, theirs!]) {
    writeFileSync(base, new Uint8Array(1 << 20).fill(0xba));
    await must("qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", root);
    for (const path of [root, base]) chmodSync(path, 0o600);
  }
  // Whoever is led here finds what passes every check of the content.
  for (const name of NAMES) copyFileSync(`${folder}/mine/${name}`, `${OUTSIDE}/${name}`);
  await must("chcon", "-R", "system_u:object_r:shadow_t:s0", OUTSIDE);
  const identities = (...paths: string[]) => new Set(paths.map((path) => identityOf(statx(path))));
  return {
    folder,
    mine: mine!,
    theirs: theirs!,
    own: identities(mine!.root, mine!.base),
    forbidden: identities(theirs!.root, theirs!.base, outside!.root, outside!.base),
    others: async () => {
      const paths = [theirs!, outside!].flatMap(({ root, base }) => [root, base]);
      return await must("stat", "-c", "%n %u:%g %a %h %C", ...paths) +
        await must("sha256sum", ...paths);
    },
  };
}

/** A hostile guest gives its own image the header of the other one, so that the checks pass. */
export function forgeHeader({ mine, theirs }: Track): void {
  writeFileSync(theirs.root, readFileSync(mine.root), { flag: "r+" });
}

/** What a racer did until it was stopped. */
export interface Raced {
  /** Exchanges of two names. */
  readonly swaps: number;
  /** Overlays that another guest's image was put in the place of. */
  readonly overlays: number;
  /** Times that a file outside was opened, read or changed by anybody. */
  readonly outside: number;
  /** Times that another guest's image was removed in an overlay's place. */
  readonly lost: number;
}

/** test/lab/probe/racer at work. */
export class Racer {
  readonly #process: ChildProcess;
  #said = "";

  static async start({ folder }: Track, longestPauseUs: number): Promise<Racer> {
    const racer = new Racer(folder, longestPauseUs);
    while (!racer.#said.includes("ready")) await once(racer.#process.stdout!, "data");
    return racer;
  }

  private constructor(folder: string, longestPauseUs: number) {
    this.#process = spawn(PROGRAM, [folder, OUTSIDE, `${longestPauseUs}`], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    this.#process.stdout!.on("data", (chunk) => this.#said += chunk);
  }

  /** Every file is where it was when this returns. */
  async stop(): Promise<Raced> {
    const closed = this.#process.exitCode === null ? once(this.#process, "close") : undefined;
    this.#process.kill("SIGTERM");
    await closed;
    const counts = [...this.#said.matchAll(/([a-z]+) (\d+)/g)].map(([, what, n]) => [what, +n!]);
    if (counts.length === 0) throw new Error(`The racer did not come to its end: ${this.#said}`);
    return Object.fromEntries(counts);
  }
}
