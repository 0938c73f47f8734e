import type { OpenIntent } from "../audit/state.ts";
import { RefusedError } from "../refused_error.ts";
import type { Host } from "../host.ts";
import { cgroupOf, membersOf } from "../process/cgroup.ts";
import { startTimeOf } from "../process/contexts.ts";
import { detach } from "./detach.ts";
import { openIntents, settle } from "./settle.ts";
import { settleCanary } from "./settle_canary.ts";
import { undo } from "./undo.ts";

/** What recovery may do. */
export interface RecoverOptions {
  /** Ends a QEMU that still runs, fully attached, without its agent. */
  readonly stop: boolean;
}

/**
 * Brings to an end what a dead agent left of a guest, by the log alone.
 *
 * An attach that did not finish is undone: its QEMU has never run the guest. So is a canary. A guest that was
 * attached and whose QEMU is gone is detached. One whose QEMU runs is only touched when told so.
 *
 * @returns What was done; nothing when there was nothing to do.
 * @throws {@linkcode RefusedError} while its agent lives, and for a running guest.
 */
export async function recover(
  guest: string,
  host: Host,
  { stop }: RecoverOptions,
): Promise<string[]> {
  const did: string[] = [];
  for (const intent of openIntents(guest, host)) {
    requireDead(intent);
    if (intent.operation !== "attach" && intent.operation !== "canary") continue;
    const isAttach = intent.operation === "attach";
    const steps = isAttach ? await undo(intent.id, host) : await settleCanary(guest, host, GONE);
    host.log.append({ event: "recover", operation: intent.id, guest, did: steps }, {
      revocation: true,
    });
    did.push(`undid ${isAttach ? "an attach" : "a canary"} that had not finished`, ...steps);
  }
  if (isClear(guest, host)) return did;
  const running = membersOf(cgroupOf(guest));
  if (running.length > 0 && !stop) {
    throw new RefusedError(
      `guest ${guest} runs (pid ${running.join(", ")}) and its agent is gone`,
      `It keeps what it was given and gets nothing new. To stop it: ` +
        `svirt-agent guest recover ${guest} --stop`,
    );
  }
  did.push("detached it", ...await detach(guest, host), ...settle(guest, host));
  return did;
}

const GONE = new Error("its agent is gone");

function isClear(guest: string, host: Host): boolean {
  const { levels, grants } = host.log.state;
  return !levels.has(guest) && !grants.has(guest) && openIntents(guest, host).length === 0;
}

function requireDead({ agent, operation, guest }: OpenIntent): void {
  if (startTimeOf(agent.pid) !== agent.startTime) return;
  throw new RefusedError(
    `${operation} of guest ${guest} is under way in process ${agent.pid}`,
    "Wait for it, or end that process first.",
  );
}
