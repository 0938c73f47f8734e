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
 * Kills whatever is left of a guest and returns when nothing is: its cgroups are empty and no process
 * has its level. What an operation under way still starts there is killed as well.
 *
 * @param level The two categories reserved for the guest, where they are known.
 * @throws {@linkcode StillThereError} naming the pids.
 */
export async function killGuest(
  level: string | undefined,
  ...cgroups: readonly Cgroup[]
): Promise<void> {
  const deadline = Date.now() + DEADLINE_MS;
  for (;;) {
    for (const cgroup of cgroups) killAll(cgroup);
    const pids = [
      ...cgroups.flatMap(membersOf),
      ...processContexts().filter(({ context }) => level !== undefined && isAtLevel(context, level))
        .map(({ pid }) => pid),
    ];
    const populated = cgroups.filter(isPopulated);
    if (pids.length === 0 && populated.length === 0) return;
    if (Date.now() > deadline) {
      const names = pids.join(", ") || `in ${populated.map(({ path }) => path).join(", ")}`;
      throw new StillThereError(`Processes of the guest are still there: ${names}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
