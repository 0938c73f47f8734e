import type { Avc } from "../audit/avc.ts";
import { AvcStream } from "../audit/avc_stream.ts";
import { booleans } from "../label/boolean.ts";
import { selinuxStatus } from "../label/status.ts";
import { avcChange, type Change, policyChanges, type PolicyState } from "../verify/change.ts";
import { Interrupt } from "./interrupt.ts";
import type { Terminal } from "./terminal.ts";
import type { Answered } from "./verify_view.ts";

/** Where changes come from; tests put small worlds in its place. */
export interface Sources extends Disposable {
  policy(before: PolicyState | undefined): PolicyState;
  /** Denials since the last call; `undefined` where they cannot be seen. */
  takeAvcs(): Avc[] | undefined;
}

/** What is done with changes. */
export interface Watching {
  /** @param provoking Whether what the options ask for is tried anew: it makes denials itself. */
  ask(provoking: boolean): Promise<readonly Answered[]>;
  /** @returns The exit status of this answer. */
  show(changes: readonly Change[], guests: readonly Answered[]): number;
}

const PERIOD_MS = 250;
/** How often it is looked where nobody can tell that something changed. */
const POLL_MS = 1_000;
/** A guest decides how many denials it makes, and each answer is recorded. */
const BETWEEN_AVCS_MS = 1_000;
/** Denials that one answer shows; ausearch has them all. */
const MOST_AVCS = 20;

/**
 * Asks again on each policy load, boolean, change of mode and denial of one of the guests.
 *
 * Denials by what a verify tries itself are left out; an answer to a denial provokes nothing at all,
 * so that none can lead to the next.
 *
 * @param ended Resolves when it is to end.
 * @returns The exit status of the last answer.
 */
export async function watchVerdicts(
  { ask, show }: Watching,
  sources: Sources,
  ended: Promise<unknown>,
): Promise<number> {
  let isEnded = false;
  const end = ended.then(() => void (isEnded = true));
  const own = { pids: new Set<number>(), serials: new Set<number>() };
  let guests: readonly Answered[] = [];
  let status = 3;
  let before = sources.policy(undefined);
  let asked = 0;
  let changes: Change[] = [{ kind: "start", time: now(), text: "watching" }];
  const denials: Avc[] = [];
  for (;;) {
    if (changes.length > 0) {
      asked = Date.now();
      const answer = ask(changes.some(({ kind }) => kind !== "avc" && kind !== "poll"));
      // Whoever ends it does not wait for a canary.
      await Promise.race([answer.then((it) => void (guests = it)), end]);
      if (isEnded) {
        answer.catch(() => {});
        return status;
      }
      remember(guests, own);
      status = show(changes, guests);
    }
    await Promise.race([new Promise((resolve) => setTimeout(resolve, PERIOD_MS)), end]);
    if (isEnded) return status;
    const policy = sources.policy(before);
    changes = policyChanges(before, policy, now());
    before = policy;
    denials.push(...sources.takeAvcs() ?? []);
    const since = Date.now() - asked;
    if (since >= BETWEEN_AVCS_MS || changes.length > 0) {
      const theirs = denials.splice(0).filter((it) => isTheirs(it, guests, own));
      changes.push(...theirs.slice(0, MOST_AVCS).map(avcChange));
    }
    if (changes.length === 0 && policy.status === undefined && since >= POLL_MS) {
      changes = [{ kind: "poll", time: now(), text: "looked again" }];
    }
  }
}

function now(): string {
  return new Date().toISOString();
}

/** The processes and records of what a verify tried itself. */
interface Own {
  readonly pids: Set<number>;
  readonly serials: Set<number>;
}

function remember(guests: readonly Answered[], { pids, serials }: Own): void {
  for (const { canary, attempts } of guests) {
    if (canary !== undefined) pids.add(canary.pid);
    for (const { avc } of attempts) if (avc !== undefined) serials.add(avc.serial);
  }
}

function isTheirs(
  { scontext, pid, serial }: Avc,
  guests: readonly Answered[],
  own: Own,
): boolean {
  if (own.serials.has(serial) || (pid !== undefined && own.pids.has(pid))) return false;
  return guests.some(({ context }) => context === scontext);
}

/** The kernel's own sources; says which of them this process may not read. */
export function openSources(terminal: Terminal): Sources {
  const avcs: Avc[] = [];
  const stream = openStream(terminal);
  stream?.onAvc((avc) => avcs.push(avc));
  if (selinuxStatus() === undefined) {
    terminal.err("svirt-agent: the status page of SELinux cannot be read: looking once a second");
  }
  return {
    policy(before) {
      const status = selinuxStatus();
      const isSame = before?.status?.policyLoad === status?.policyLoad;
      return {
        status,
        booleans: before !== undefined && isSame ? before.booleans : booleans.all(),
      };
    },
    takeAvcs: () => stream && avcs.splice(0),
    [Symbol.dispose]: () => stream?.[Symbol.dispose](),
  };
}

function openStream(terminal: Terminal): AvcStream | undefined {
  try {
    return AvcStream.open();
  } catch (error) {
    const { message, hint } = error as Error & { hint?: string };
    terminal.err(
      `svirt-agent: no audit stream, so denials are not seen: ${message}. ${hint ?? ""}`,
    );
    return undefined;
  }
}

/** Watches until somebody presses Ctrl-C. */
export async function watch(watching: Watching, terminal: Terminal): Promise<number> {
  using interrupt = new Interrupt();
  using sources = openSources(terminal);
  const ended = Promise.race([interrupt.signal, terminal.closed ?? interrupt.signal]);
  return await watchVerdicts(watching, sources, ended);
}
