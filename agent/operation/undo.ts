import type { Host } from "../host.ts";
import type { Identity, OwnedFd } from "../owned_fd.ts";
import { cgroupOf, removeCgroup } from "../process/cgroup.ts";
import { killGuest } from "../process/stop.ts";
import { giveBack } from "./give_back.ts";
import { tellError } from "./tell_error.ts";

/**
 * Undoes an attach that did not come to its end: by the agent that failed, or by a later one.
 *
 * QEMU goes first, because labels and owners must not come back while anybody holds a descriptor.
 * Safe to run again: it goes by the log alone.
 *
 * @param error Why, for the log; absent when the agent died.
 * @param held Lent: what the agent still has open of the guest's files.
 * @returns What was done.
 */
export async function undo(
  operation: string,
  host: Host,
  error?: Error,
  held: readonly OwnedFd[] = [],
): Promise<string[]> {
  const intent = host.log.state.intents.get(operation);
  if (intent === undefined) return [];
  const { guest } = intent;
  const cgroup = cgroupOf(guest);
  await killGuest(levelOf(guest, host), cgroup);
  const identities = new Set(
    intent.undo.flatMap((it): Identity[] =>
      it.kind === "label" || it.kind === "owner" ? [it.identity] : []
    ),
  );
  const told = error && { error: tellError(error) };
  const did = host.log.transact((state) => {
    const { did, findings } = giveBack(guest, identities, state, host, held);
    const ended = error === undefined ? "undone" : "failed";
    // Unknown: the intent stays open, and the next recovery tries again.
    const result = findings.length === 0 ? ended : "unknown";
    const outcome = { event: "outcome", operation, guest, result, evidence: did, ...told } as const;
    return { events: [...findings, outcome], result: did };
  }, { revocation: true });
  removeCgroup(cgroup);
  return [...did];
}

function levelOf(guest: string, host: Host): string | undefined {
  return host.log.state.levels.get(guest);
}
