import { randomUUID } from "node:crypto";
import type { AuditEvent } from "../audit/event.ts";
import type { State } from "../audit/state.ts";
import type { Host } from "../host.ts";
import { reach } from "../io/step.ts";
import type { Identity, OwnedFd } from "../owned_fd.ts";
import { cgroupOf, membersOf, removeCgroup } from "../process/cgroup.ts";
import { canaryPlaceOf } from "../process/place.ts";
import { killGuest } from "../process/stop.ts";
import { giveBack } from "./give_back.ts";
import { settleCanary } from "./settle_canary.ts";
import type { Turns } from "./turns.ts";

/** How long QEMU may take to write out its caches after `quit`. */
const QUIT_MS = 15_000;

/** What ends a QEMU in good order; its monitor, as a rule. */
export type Quit = () => Promise<unknown>;

/** What only the agent that guards the guest has. */
export interface Guarded {
  /** Absent when nobody can ask QEMU any more. */
  readonly quit?: Quit;
  /** Lent: what the agent still has open of the guest's files, once {@linkcode turns} is closed. */
  readonly held?: () => readonly OwnedFd[];
  /** Its operations: one under way may still change labels and owners, and goes first. */
  readonly turns?: Turns;
}

/**
 * Takes everything away from a guest: its QEMU ends, labels and owners go back, its categories are
 * free again.
 *
 * @returns What was done.
 */
export async function detach(
  guest: string,
  host: Host,
  { quit, held = () => [], turns }: Guarded = {},
): Promise<string[]> {
  const operation = randomUUID();
  const cgroup = cgroupOf(guest);
  const begun = tryRecord(host, {
    event: "intent",
    operation: "detach",
    id: operation,
    guest,
    agent: host.agent,
    undo: [],
    plan: { processes: membersOf(cgroup) },
  });
  reach("detach", "intent");
  if (quit !== undefined) await endWithin(cgroup, quit);
  // A canary has the guest's categories, so that the guest's end is its end, too.
  const canary = canaryPlaceOf(guest, host.settings).cgroup;
  await killGuest(host.log.state.levels.get(guest), cgroup, canary);
  // QEMU is gone, so that whatever waits for it fails; until then nothing may be given back.
  await turns?.close();
  reach("detach", "stop");
  // What it had ends with its processes, recorded or not. Files stay as they are until the log works.
  if (begun !== undefined) throw begun;
  const did = host.log.transact((state) => {
    const { did, findings } = giveBack(guest, identitiesOf(guest, state), state, host, held());
    // Failed: the next recovery tries again, and until then the log still knows the files.
    const result = findings.length === 0 ? "done" : "failed";
    const outcome = { event: "outcome", operation, guest, result, evidence: did } as const;
    return { events: [...findings, outcome], result: did };
  }, { revocation: true });
  reach("detach", "give back");
  removeCgroup(cgroup);
  return [...did, ...await settleCanary(guest, host)];
}

/** A log that cannot be written stops no revocation: answers why it could not. */
function tryRecord({ log }: Host, event: AuditEvent): Error | undefined {
  try {
    log.append(event, { revocation: true });
    return undefined;
  } catch (error) {
    return error as Error;
  }
}

async function endWithin(cgroup: ReturnType<typeof cgroupOf>, quit: Quit): Promise<void> {
  // QEMU closes the monitor instead of answering, sometimes; the cgroup is what counts.
  quit().catch(() => {});
  const deadline = Date.now() + QUIT_MS;
  while (membersOf(cgroup).length > 0 && Date.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function identitiesOf(guest: string, { references }: State): Identity[] {
  return [...references]
    .filter(([, { users }]) => users.some((user) => user.guest === guest))
    .map(([identity]) => identity);
}
