import { readFileSync } from "node:fs";
import { must } from "./command.ts";
import { Run, STORAGE, writeGuest } from "./world.ts";

/** What the guest's shell writes, again and again, to sector 1024. test/lab/booted/init */
const PATTERN = "SVIRT-AGENT-BOOTED\n";
const OFFSET = 1024 * 512;
const LENGTH = 8 * 512;

const WROTE = /shell of pid \d+ wrote to [^\r\n]+/;

/** As made by test/lab/booted/disk.ts: boot sector, kernel and initrd. */
const MADE = "/usr/share/svirt-lab/booted.raw";
export const BOOTED: { readonly name: string; readonly storage: "ext4"; readonly disk: string } = {
  name: "booted",
  storage: "ext4",
  disk: `${STORAGE.ext4}/booted.raw`,
};

/**
 * Has the disk what the guest's shell writes, on the host?
 *
 * @returns `undefined` when there is something else.
 */
export function writtenByShell(): boolean | undefined {
  const found = readFileSync(BOOTED.disk).subarray(OFFSET, OFFSET + LENGTH).toString("latin1");
  if (found === PATTERN.repeat(LENGTH).slice(0, LENGTH)) return true;
  return found === "\0".repeat(LENGTH) ? false : undefined;
}

/** A guest that boots a real kernel from the one disk that it is handed; it has begun to. */
export async function bootGuest(): Promise<Run> {
  await must("cp", "--sparse=always", MADE, BOOTED.disk);
  const image = { name: "root", path: BOOTED.disk, format: "raw" };
  const file = await writeGuest(BOOTED.name, [image], [
    // As much memory as test/lab/booted/disk.ts tells the kernel of.
    ...["-machine", "q35", "-m", "128", "-nodefaults", "-display", "none"],
    ...["-chardev", "ringbuf,id=console,size=65536", "-serial", "chardev:console"],
  ]);
  return await new Run(BOOTED.name, file).running();
}

/**
 * Until the guest's shell says that it has written to the disk.
 *
 * @returns What it said.
 * @throws `Error` with the guest's console when its kernel panics.
 */
export async function shellWrote(run: Run): Promise<string> {
  let seen = "";
  for (let match = null as RegExpExecArray | null;; match = WROTE.exec(seen)) {
    if (match !== null) return match[0];
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const { said } = await run.call("Qmp", {
      execute: "ringbuf-read",
      arguments: { device: "console", size: 65536 },
    });
    seen += String(said);
    if (seen.includes("Kernel panic")) throw new Error(`The guest does not boot:\n${seen}`);
  }
}
