import { BOOTED, bootGuest, shellWrote, writtenByShell } from "../booted_guest.ts";
import { attached } from "./attached.ts";
import type { Check } from "./check.ts";

/**
 * A guest with a real kernel boots from the disk that it was handed and nothing else, as far as a
 * shell whose write is on the host's disk; then its disk is used and cannot be opened.
 */
export async function booted(say: (line: string) => void): Promise<Check[]> {
  const run = await bootGuest();
  if (writtenByShell() !== false) throw new Error(`${BOOTED.disk} is written before it boots`);
  say(`  ${await shellWrote(run)}`);
  if (writtenByShell() !== true) throw new Error(`${BOOTED.disk} does not hold it on the host`);
  say(`  which is on the host's disk`);
  const rows = await attached(run, BOOTED);
  const status = await run.stop();
  if (status !== 0) throw new Error(`svirt-agent run: exit ${status}\n${run.output}`);
  return rows.map((row) => ({ ...row, stage: "booted" }));
}
