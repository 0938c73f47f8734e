/**
 * What another guest could do with a guest's file, should it get hold of a descriptor or the path: the
 * policy is asked about a guest that is not there, at a level that is not this guest's.
 *
 * @module
 */

import type { FileClass } from "../label/assign.ts";
import type { Context } from "../label/context.ts";
import { formatLevel, parseRange } from "../label/level.ts";
import type { Policy } from "../policy/live.ts";
import type { Expected } from "./expected.ts";
import type { Decision, Verdict } from "./verdict.ts";

/** What the policy says of another guest and one image; writing includes appending. */
export type OtherVerdict = Pick<Verdict, "open" | "read" | "write">;

/** The highest category of every known policy with MCS. */
const TOP = 1023;

/** Two categories that a guest does not have: neither level dominates the other. */
export function otherLevel(level: string): string {
  const { low: { sensitivity }, high: { categories: own } } = parseRange(level);
  const categories = new Set<number>();
  for (let category = TOP; category >= 0 && categories.size < 2; category--) {
    if (!own.has(category)) categories.add(category);
  }
  return formatLevel({ sensitivity, categories });
}

/** Guests that are not this one, one in each domain that the policy has for guests. */
export function otherGuests(guest: Context, domains: readonly string[]): Context[] {
  const level = otherLevel(guest.level ?? "s0");
  return [...new Set([guest.type, ...domains])].map((type) => ({ ...guest, type, level }));
}

/** Asks the policy about another guest. */
export function askOther(
  other: Context,
  label: Context,
  policy: Policy,
  fileClass: FileClass = "file",
): OtherVerdict {
  const { decide } = policy.access(other, label, fileClass);
  return { open: decide("open"), read: decide("read"), write: change(decide) };
}

/**
 * Appending is writing: whoever holds a descriptor may set O_APPEND on it, and is then asked for
 * `append` alone.
 */
function change(decide: (permission: string) => Decision): Decision {
  const write = decide("write");
  return write.answer === "denied" ? decide("append") : write;
}

/**
 * - a private image on storage that keeps labels: nothing
 * - a base that guests share: reading is what it is there for
 * - storage without labels: holding a descriptor is the right to use it, and open is denied
 */
export function expectedOfOther(keepsLabels: boolean, shared: boolean): Partial<Expected> {
  if (!keepsLabels) return { open: "denied" };
  return { open: "denied", ...(!shared && { read: "denied" }), write: "denied" };
}
