import type { Access } from "../owned_fd.ts";
import type { Answer, Verdict } from "./verdict.ts";

/** What a verdict has to be. */
export type Expected = Readonly<Record<keyof Verdict, Answer>>;

/** A guest's own image, or a base it may read: it uses the descriptor and never the path. */
export function expectedOfOwn(access: Access): Expected {
  return {
    dup: "allowed",
    open: "denied",
    read: "allowed",
    write: access === "rw" ? "allowed" : "denied",
    map: "denied",
  };
}

/**
 * What would get around the rest, where files carry our types: `lock` stops other programs, `execute`
 * runs what it reads, a guest that relabels gives itself back what was taken, and with O_APPEND set on
 * a descriptor that it holds `append` alone is asked.
 */
export function forbiddenOf(access: Access): string[] {
  const always = ["lock", "execute", "relabelfrom", "relabelto"];
  return access === "rw" ? always : ["append", ...always];
}

/** Somebody else's image, reached by its path. */
export const EXPECTED_OF_OTHERS: Pick<Expected, "open"> = { open: "denied" };

/** The members of a verdict that are not as expected; empty if all are. `unknown` never is. */
export function differences(
  verdict: Partial<Verdict>,
  expected: Partial<Expected>,
): (keyof Verdict)[] {
  return (Object.keys(expected) as (keyof Verdict)[])
    .filter((key) => verdict[key]?.answer !== expected[key]);
}
