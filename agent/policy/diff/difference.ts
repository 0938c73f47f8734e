import type { Relation } from "../assertion/assertion.ts";
import type { BooleanValues } from "../binary/with_booleans.ts";
import type { PolicyDecision } from "../engine.ts";
import type { Rule } from "../rule_index.ts";

/** Of the two policies that are compared. */
export type WhichPolicy = "old" | "new";

/** What policies are asked about guests and what they use, and how reports call it. */
export const RELATIONS: readonly Relation[] = [
  "same-categories",
  "other-categories",
  "no-categories",
];

/** What a policy says of one permission, for each relation of categories. */
export type Answers = Readonly<Record<string, PolicyDecision["answer"]>>;

/** What one guest type may do in one policy and not in the other. */
export interface AccessChange {
  readonly source: string;
  readonly target: string;
  readonly tclass: string;
  readonly permissions: readonly string[];
  /** Values of booleans that are not the policies' own, with which it shows. */
  readonly state: BooleanValues;
  readonly before: Answers;
  readonly after: Answers;
  /** Rules that grant it in one policy only, of one of the permissions; none where a constraint changed. */
  readonly removed: readonly Rule[];
  readonly added: readonly Rule[];
}

/** Which way a change goes; `new-type`: the target is only in the new policy, `lost-type` in the old. */
export type Direction = "looser" | "tighter" | "mixed" | "new-type" | "lost-type";

export function directionOf({ before, after }: Pick<AccessChange, "before" | "after">): Direction {
  const relations = Object.keys(before);
  if (relations.every((it) => before[it] === "unknown")) return "new-type";
  if (relations.every((it) => after[it] === "unknown")) return "lost-type";
  const gained = relations.some((it) => before[it] !== "allowed" && after[it] === "allowed");
  const lost = relations.some((it) => before[it] === "allowed" && after[it] !== "allowed");
  return gained && lost ? "mixed" : gained ? "looser" : "tighter";
}
