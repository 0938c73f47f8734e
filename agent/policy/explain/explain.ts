/**
 * Explains denials, each kind in three lines: what was tried, what said no, what to do.
 *
 * 1. `audit/avc_reader.ts` finds them in logs, `group.ts` puts together those that are the same;
 * 2. `said_no.ts` asks a policy, with the booleans as they were;
 * 3. `predicted.ts` knows which ones are the product working, `asserted.ts` what assertion files say,
 *    `grants.ts` what the agent's log says;
 * 4. `advice.ts` says what to do.
 *
 * @module
 */

import type { SeenDenial } from "../../audit/avc_reader.ts";
import { GUEST_TYPES } from "../../label/guest_types.ts";
import type { Assertion } from "../assertion/assertion.ts";
import type { PolicyDb } from "../binary/policydb.ts";
import { type Advice, advise, type Meaning } from "./advice.ts";
import { assertedBy } from "./asserted.ts";
import type { Grants } from "./grants.ts";
import { type Group, groupDenials, spanOf, typeOf } from "./group.ts";
import { opensBesides } from "./opens.ts";
import { predict, type Prediction } from "./predicted.ts";
import { askNobody, type AskWhy, type Refusal } from "./said_no.ts";
import { tried } from "./tried.ts";

/** The answer for one kind of denial. */
export interface Explanation {
  readonly group: Group;
  readonly tried: string;
  readonly refusal: Refusal;
  readonly prediction: Prediction | undefined;
  /** Ids of assertions that say that it is never allowed. */
  readonly asserted: readonly string[];
  readonly advice: Advice;
}

/** Who can be asked besides the log itself; everything may be missing. */
export interface Sources {
  readonly ask?: AskWhy;
  readonly db?: PolicyDb;
  readonly grants?: Grants;
  readonly assertions?: readonly Assertion[];
}

/** What needs somebody comes first. */
const ORDER: readonly Meaning[] = ["look", "not-denied", "past", "working", "harmless"];

/** Explains all of them; those that mean the same stay in the order of time. */
export function explain(
  denials: readonly SeenDenial[],
  { ask = askNobody, db, grants, assertions = [] }: Sources,
): Explanation[] {
  const isGuest = guestsIn(db);
  const opens = (boolean: string, type: string) =>
    db === undefined ? [] : opensBesides(db, boolean, type);
  const groups = groupDenials(denials, isGuest);
  const refusals = ask(groups);
  const explanations = groups.map((group, i): Explanation => {
    const refusal = refusals[i]!;
    const saying = assertedBy(group, assertions, { isGuest, db });
    const asserted = saying.map(({ id }) => id);
    const prediction = predict(group, isGuest) ?? predictedBy(saying, group);
    const granted = isGuest(typeOf(group.source)) ? grants?.about(group) : undefined;
    const advice = advise({ group, refusal, prediction, asserted, isGuest, granted, opens });
    const what = tried(group, isGuest, grants);
    return { group, tried: what, refusal, prediction, asserted, advice };
  });
  return explanations.sort((a, b) =>
    ORDER.indexOf(a.advice.meaning) - ORDER.indexOf(b.advice.meaning) ||
    compare(spanOf(a.group).first ?? "", spanOf(b.group).first ?? "")
  );
}

/** What an assertion predicts; a denial of the agent itself is never as it should be. */
function predictedBy(
  [assertion]: readonly Assertion[],
  { source }: Group,
): Prediction | undefined {
  if (assertion === undefined || typeOf(source) === "svirt_agent_t") return undefined;
  const { id, desc } = assertion;
  return { id, by: "assertion", kind: "promise", promise: "an assertion", because: desc };
}

/** Is it a guest's domain? Also without a policy, for the types of those that are known. */
export function guestsIn(db: PolicyDb | undefined): (type: string) => boolean {
  const guests = new Set([...GUEST_TYPES, ...db?.expand("virt_domain") ?? []]);
  return (type) => guests.has(type);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
