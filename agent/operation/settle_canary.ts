import { constants, rmSync } from "node:fs";
import { posix } from "node:path";
import { lstatx, unlinkat } from "../../ffi/libc.ts";
import type { OutcomeEvent } from "../audit/event.ts";
import type { OpenIntent, State } from "../audit/state.ts";
import type { Host } from "../host.ts";
import { openParent } from "../image/folder.ts";
import { orAs, ownerOf } from "../image/squash.ts";
import { removeCgroup } from "../process/cgroup.ts";
import { canaryPlaceOf } from "../process/place.ts";
import { killGuest } from "../process/stop.ts";
import { tellError } from "./tell_error.ts";

/**
 * Ends a guest's canary and leaves nothing of it: no process, no cgroup, no socket, no file. By the
 * agent that started it, or by a later one; safe to run again.
 *
 * @param error Why it came to no answer, for the log.
 * @returns What was done.
 * @throws `StillThereError`, `SystemError`: the intent stays open, and recovery tries again.
 */
export async function settleCanary(guest: string, host: Host, error?: Error): Promise<string[]> {
  const { cgroup, monitor, console } = canaryPlaceOf(guest, host.settings);
  // Not by the level: that is the guest's own, which runs on.
  await killGuest(undefined, cgroup);
  removeCgroup(cgroup);
  for (const path of [monitor, console]) rmSync(path, { force: true });
  const open = canariesOf(guest, host.log.state);
  if (open.length === 0) return [];
  const did = open.flatMap(({ undo }) =>
    undo.flatMap((it) => it.kind === "unlink" ? remove(it.path, host) : [])
  );
  host.log.transact((state) => ({
    events: canariesOf(guest, state).map(({ id }): OutcomeEvent => ({
      event: "outcome",
      operation: id,
      guest,
      result: error === undefined ? "done" : "undone",
      evidence: did,
      ...(error && { error: tellError(error) }),
    })),
    result: undefined,
  }), { revocation: true });
  return did;
}

function canariesOf(guest: string, { intents }: State): OpenIntent[] {
  return [...intents.values()].filter((it) => it.operation === "canary" && it.guest === guest);
}

/** Most bytes of a canary file: a sector of any disk, so that O_DIRECT writes it, too. */
export const CANARY_BYTES = 4096;

/** One that is not there is no error. What is larger than a canary is nobody's that was made here. */
function remove(path: string, { folders }: Host): string[] {
  try {
    using folder = openParent(folders, path);
    const name = posix.basename(path);
    const { mode, size } = lstatx(folder.number, name);
    if ((mode & constants.S_IFMT) !== constants.S_IFREG || size > CANARY_BYTES) {
      return [`${path} is another file now: left alone`];
    }
    orAs(folder, () => ownerOf(folder, name), () => unlinkat(folder.number, name));
    return [`removed ${path}`];
  } catch (error) {
    if ((error as { code?: string }).code === "ENOENT") return [];
    throw error;
  }
}
