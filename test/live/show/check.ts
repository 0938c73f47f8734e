import type { Verdict } from "../../../agent/verify/verdict.ts";
import { differences, type Expected } from "../../../agent/verify/expected.ts";
import type { Grade } from "../../../agent/label/mount.ts";
import type { Storage } from "../world.ts";

/** One row of result.json. */
export interface Check {
  readonly storage: Storage;
  readonly guest: string;
  /** `web2/root`: whose image it is. */
  readonly image: string;
  readonly stage: "before" | "attached" | "frozen" | "booted";
  readonly holder: {
    readonly kind: "guest" | "hostile";
    readonly pid: number;
    readonly context: string;
  };
  readonly verdict: Partial<Verdict>;
  readonly expected: Partial<Expected>;
  readonly asExpected: boolean;
  readonly grade?: Grade;
  readonly witnesses: {
    /** What the loaded policy answers. */
    readonly policy?: Verdict;
    /** What QEMU, or the hostile holder, said. */
    readonly guest?: readonly string[];
    /** Serials of the kernel's records of the denials. */
    readonly avc?: readonly number[];
  };
}

/** Completes a row: is it as expected? */
export function check(row: Omit<Check, "asExpected">): Check {
  return { ...row, asExpected: differences(row.verdict, row.expected).length === 0 };
}

/** A row for the terminal. */
export function shown(row: Check): string {
  const { storage, stage, guest, holder, image, verdict, asExpected, grade } = row;
  const answers = Object.entries(verdict).map(([key, decision]) => `${key} ${decision.answer}`);
  const who = holder.kind === "hostile" ? `hostile holder in ${guest}'s context` : guest;
  const mark = asExpected ? "ok " : "BAD";
  return `${mark} ${storage} ${stage}: ${who} on ${image}: ${answers.join(", ")}` +
    (grade === undefined ? "" : ` [${grade}]`);
}
