import { isAtLevel } from "../label/context.ts";
import { type Cgroup, isPopulated, killAll, membersOf } from "./cgroup.ts";
import { processContexts } from "./contexts.ts";

/** A process that should be gone is still there. */
export class StillThereError extends Error {
  override readonly name = "StillThereError";
  readonly hint = "It may hang in the kernel on storage that does not answer. Try again later.";
}

/** How long processes may take to die after SIGKILL. */
const DEADLINE_MS = 10_000;

/**
 * Kills whatever is left of a guest and returns when nothing is: its cgroup is empty and no process
 * has its level.
 *
 * @param level The two categories reserved for the guest, where they are known.
 * @throws {@linkcode StillThereError} naming the pids.
 */
export async function killGuest(cgroup: Cgroup, level: string | undefined): Promise<void> {
  const deadline = Date.now() + DEADLINE_MS;
  killAll(cgroup);
  for (;;) {
    const pids = [
      ...membersOf(cgroup),
      ...processContexts().filter(({ context }) => level !== undefined && isAtLevel(context, level))
        .map(({ pid }) => pid),
    ];
    if (pids.length === 0 && !isPopulated(cgroup)) return;
    if (Date.now() > deadline) {
      const names = pids.join(", ") || `in ${cgroup.path}`;
      throw new StillThereError(`Processes of the guest are still there: ${names}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
