import type { OpenIntent } from "../audit/state.ts";
import type { Host } from "../host.ts";
import { settleSnapshot } from "./settle_snapshot.ts";

/** The operations of a guest that have not ended, or of which nobody knows how. */
export function openIntents(guest: string, { log }: Host): OpenIntent[] {
  return [...log.state.intents.values()].filter((intent) => intent.guest === guest);
}

/**
 * Ends what operations left open, once nothing is left of the guest; by the agent that guarded it, or
 * by a later one.
 *
 * @returns What was done.
 */
export function settle(guest: string, host: Host): string[] {
  return openIntents(guest, host).flatMap((intent) => {
    const did = intent.operation === "snapshot"
      ? settleSnapshot(intent, host)
      : endWith(intent, host);
    host.log.append({ event: "recover", operation: intent.id, guest, did }, { revocation: true });
    return did;
  });
}

/** A detach that a later one has finished. */
function endWith({ id, guest, operation }: OpenIntent, { log }: Host): string[] {
  log.append({ event: "outcome", operation: id, guest, result: "done" }, { revocation: true });
  return [`finished its ${operation}`];
}
