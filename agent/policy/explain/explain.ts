/**
 * Explains denials, each kind in three lines: what was tried, what said no, what to do.
 *
 * 1. `audit/avc_reader.ts` finds them in logs, `group.ts` puts together those that are the same;
 * 2. `said_no.ts` asks a policy, with the booleans as they were;
 * 3. `predicted.ts` knows which ones are the product working, `grants.ts` what the agent's log says;
 * 4. `advice.ts` says what to do.
 *
 * @module
 */

import type { SeenDenial } from "../../audit/avc_reader.ts";
import { GUEST_TYPES } from "../../label/guest_types.ts";
import type { PolicyDb } from "../binary/policydb.ts";
import { type Advice, advise, type Meaning } from "./advice.ts";
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
  readonly advice: Advice;
}

/** Who can be asked besides the log itself; everything may be missing. */
export interface Sources {
  readonly ask?: AskWhy;
  readonly db?: PolicyDb;
  readonly grants?: Grants;
}

/** What needs somebody comes first. */
const ORDER: readonly Meaning[] = ["look", "not-denied", "past", "working", "harmless"];

/** Explains all of them; those that mean the same stay in the order of time. */
export function explain(
  denials: readonly SeenDenial[],
  { ask = askNobody, db, grants }: Sources,
): Explanation[] {
  const isGuest = guestsIn(db);
  const opens = (boolean: string, type: string) =>
    db === undefined ? [] : opensBesides(db, boolean, type);
  const groups = groupDenials(denials, isGuest);
  const refusals = ask(groups);
  const explanations = groups.map((group, i): Explanation => {
    const refusal = refusals[i]!;
    const prediction = predict(group, isGuest);
    const granted = isGuest(typeOf(group.source)) ? grants?.about(group) : undefined;
    const advice = advise({ group, refusal, prediction, isGuest, granted, opens });
    return { group, tried: tried(group, isGuest, grants), refusal, prediction, advice };
  });
  return explanations.sort((a, b) =>
    ORDER.indexOf(a.advice.meaning) - ORDER.indexOf(b.advice.meaning) ||
    compare(spanOf(a.group).first ?? "", spanOf(b.group).first ?? "")
  );
}

/** Is it a guest's domain? Also without a policy, for the types of those that are known. */
export function guestsIn(db: PolicyDb | undefined): (type: string) => boolean {
  const guests = new Set([...GUEST_TYPES, ...db?.expand("virt_domain") ?? []]);
  return (type) => guests.has(type);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
