import type { AttachedImage } from "../attached_guest.ts";
import type { Provoked } from "./provoke.ts";
import { type Answer, bySelinux, type Decision, type Verdict } from "./verdict.ts";

/**
 * What a canary file is labelled as: a guest's writable image, one that is frozen or private, a base
 * that guests share; or nothing, where the filesystem keeps no labels, there perhaps behind a fence.
 */
export type CanaryState = "writable" | "frozen" | "shared" | "unlabelled" | "fenced";

/** One thing that the canary tried. */
export interface CanaryAttempt extends Provoked {
  /** Id of the mount, the first field of /proc/self/mountinfo. */
  readonly mount: number;
  readonly state: CanaryState;
  /** The canary file's label while it was tried. */
  readonly label: string;
  /**
   * - `fdset`: the descriptor it was handed, the positive control
   * - `path`: the canary file by name
   * - `proc-fd`: the descriptor it holds, opened again
   * - `create`: a new file beside it
   * - `write`: real bytes through the read-write descriptor that it has kept from the beginning
   */
  readonly by: "fdset" | "path" | "proc-fd" | "create" | "write";
  readonly path: string;
  readonly expected: Answer;
  readonly asExpected: boolean;
}

/** What one canary showed. It is not on the guest's inodes: the label is the same, the file is not. */
export interface CanaryReport {
  readonly pid: number;
  readonly context: string;
  /** RFC 3339. */
  readonly time: string;
  readonly attempts: readonly CanaryAttempt[];
  readonly asExpected: boolean;
}

/** What a canary says of one image: only what was tried with a file of the same label. */
export interface CanaryWitness extends Partial<Verdict> {
  readonly state: CanaryState;
  /** Serials of the kernel's AVCs behind it. */
  readonly avcs: readonly number[];
}

/** Which of the canary file's labels is an image's own. */
export function stateOf(
  { layer, storage, fenced }: Pick<AttachedImage, "layer" | "storage" | "fenced">,
): CanaryState {
  if (!storage.keepsLabels) return fenced === undefined ? "unlabelled" : "fenced";
  if (layer.access === "rw") return "writable";
  return layer.shared ? "shared" : "frozen";
}

/**
 * Is this what has to come of it? Folders belong to root alone, so that a new file is refused by
 * their mode before SELinux is asked; a fence is the server's; everything else has to be SELinux's
 * own no.
 */
export function isAsExpected(
  by: CanaryAttempt["by"],
  expected: Answer,
  decision: Decision,
): boolean {
  if (decision.answer !== expected) return false;
  return expected === "allowed" || bySelinux(decision) ||
    (by === "create" && decision.by === "dac") || (by === "write" && decision.by === "server");
}

/** What the canary says of one image, or nothing where it tried nothing on its mount. */
export function canaryWitness(
  { attempts }: CanaryReport,
  image: AttachedImage,
): CanaryWitness | undefined {
  const mount = Number(image.ro.stat().mountId);
  const state = stateOf(image);
  const mine = attempts.filter((it) => it.mount === mount && it.state === state);
  if (mine.length === 0) return undefined;
  const dup = ofAll(mine, "fdset");
  const open = ofAll(mine, "path", "proc-fd");
  // Without labels nothing tells an image that may be written from one that may not.
  const write = state === "unlabelled" && image.layer.access === "ro"
    ? undefined
    : ofAll(mine, "write");
  return {
    state,
    avcs: mine.flatMap(({ avc }) => avc?.serial ?? []),
    ...(dup && { dup }),
    ...(open && { open }),
    ...(write && { write }),
  };
}

/** Denied only if each of them was; what was not, decides. */
function ofAll(
  attempts: readonly CanaryAttempt[],
  ...ways: CanaryAttempt["by"][]
): Decision | undefined {
  const decisions = attempts.filter(({ by }) => ways.includes(by)).map(({ decision }) => decision);
  return decisions.find(({ answer }) => answer !== "denied") ??
    decisions.find((decision) => !bySelinux(decision)) ?? decisions[0];
}

/** Where the canary's experience and the policy's answer differ: whichever is wrong, it is a finding. */
export function disagreements(
  path: string,
  policy: Verdict,
  canary: CanaryWitness | undefined,
): string[] {
  if (canary === undefined) return [];
  return (["dup", "open", "read", "write", "map"] as const).flatMap((key) => {
    const [said, seen] = [policy[key].answer, canary[key]?.answer];
    if (seen === undefined || [said, seen].includes("unknown") || said === seen) return [];
    return [
      `witnesses disagree on "${path}": ${key} is ${said} by the policy, ${seen} to a canary`,
    ];
  });
}
