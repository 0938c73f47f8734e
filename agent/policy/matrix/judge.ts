import type { Group, Matrix } from "./matrix.ts";

/**
 * What is remarkable about a group.
 *
 * - `cross-guest`: guests get at an image with the categories of another one, or may open and write
 *   one with nobody's, where every guest leaves what others read
 * - `shared`: guests may open an image without categories, and none of them may write it
 * - `opens-own`: guests may open their image by its name, not only use it as they were handed it
 * - `unknown`: the policy does not have the class or a permission
 */
export type Kind = "cross-guest" | "shared" | "opens-own" | "unknown";

const WRITES = ["write", "append"];

/** `undefined` where guests may do what they should and no more. */
export function kindOf({ relation, reached, answer }: Group): Kind | undefined {
  if (relation === "other" && reached.length > 0) return "cross-guest";
  const opens = reached.includes("open");
  if (relation === "nobody" && opens) {
    return reached.some((it) => WRITES.includes(it)) ? "cross-guest" : "shared";
  }
  if ([...answer.decisions.values()].some((it) => it.answer === "unknown")) return "unknown";
  return opens ? "opens-own" : undefined;
}

/** Pairs of a guest and an image that it should not get at. */
export function crossGuestAccesses({ groups }: Matrix): number {
  return groups.filter((it) => kindOf(it) === "cross-guest")
    .reduce((sum, { pairs }) => sum + pairs, 0);
}
