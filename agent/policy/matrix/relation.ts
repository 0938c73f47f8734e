import { parseContext } from "../../label/context.ts";
import { dominates, formatRange, type Level, parseRange, type Range } from "../../label/level.ts";

/** Whose is an image, for one guest? By its categories: `nobody`'s image has none. */
export type Relation = "own" | "other" | "nobody";

/** A context, taken apart once. */
export interface Subject {
  /** Everything of it that a constraint may look at without the other context. */
  readonly shape: string;
  readonly type: string;
  /** Absent where the policy has no levels. */
  readonly range: Range | undefined;
  /** Is its high level another than its low one? */
  readonly isRange: boolean;
  /** The same text for the same range, however it was written. */
  readonly level: string;
}

/** @throws `SyntaxError` */
export function subjectOf(context: string): Subject {
  const { user, role, type, level: text } = parseContext(context);
  const range = text === undefined ? undefined : parseRange(text);
  const level = range === undefined ? "" : formatRange(range);
  const isRange = level.includes("-");
  const plain = range?.high.categories.size === 0;
  return { shape: `${user}:${role}:${type} ${isRange} ${plain}`, type, range, isRange, level };
}

export function relationOf(guest: Subject, image: Subject): Relation {
  if (image.range === undefined || image.range.high.categories.size === 0) return "nobody";
  const { high } = image.range;
  const own = guest.range !== undefined && dominates(guest.range.high, high) &&
    dominates(high, guest.range.high);
  return own ? "own" : "other";
}

/**
 * Everything that a constraint can find out about two ranges: `dom`, `domby`, `eq` and `incomp` of
 * the low and high levels (mls_level_* and CEXPR_L1L2 and on, <sepol/policydb/constraint.h>). Pairs
 * with the same number and the same {@linkcode Subject.shape shapes} get the same answer, whatever
 * the categories are.
 */
export function constraintKey(guest: Subject, image: Subject): number {
  const [a, b] = [guest.range, image.range];
  if (a === undefined || b === undefined) return 0;
  if (!guest.isRange && !image.isRange) return compared(a.high, b.high) * ALL_FOUR;
  return compared(a.low, b.low) << 6 | compared(a.low, b.high) << 4 |
    compared(a.high, b.low) << 2 | compared(a.high, b.high);
}

/** Numbers that {@linkcode constraintKey} may answer. */
export const CONSTRAINT_KEYS = 256;
/** Low and high levels are the same: four times the same two bits. */
const ALL_FOUR = 0b01010101;

function compared(a: Level, b: Level): number {
  return Number(dominates(a, b)) << 1 | Number(dominates(b, a));
}
