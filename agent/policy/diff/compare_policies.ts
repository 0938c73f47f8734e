import type { Assertion } from "../assertion/assertion.ts";
import { evaluate } from "../assertion/evaluate.ts";
import type { PolicyReport } from "../assertion/verdict.ts";
import type { BooleanValues } from "../binary/with_booleans.ts";
import type { PolicyEngine } from "../engine.ts";
import { guestTypes } from "../guest_types.ts";
import { type AssertionChange, compareAssertions } from "./compare_assertions.ts";
import type { Both } from "./compare_grants.ts";
import { compareGuests } from "./compare_guests.ts";
import { compareIoctls, type IoctlChange } from "./compare_ioctl.ts";
import {
  type BooleanChange,
  compareBooleans,
  compareNames,
  type LoneName,
} from "./compare_symbols.ts";
import { type ChangeGroup, groupChanges } from "./group_changes.ts";

/** What changed from one policy to another. */
export interface PolicyDiff {
  readonly policies: Both<PolicyEngine>;
  readonly reports: Both<PolicyReport>;
  readonly assertions: readonly AssertionChange[];
  /** Guest types and permissive ones are always compared, the others with `guests`. */
  readonly names: readonly LoneName[];
  readonly booleans: readonly BooleanChange[];
  readonly guests?: {
    /** Types that were compared: those that both policies have. */
    readonly types: readonly string[];
    readonly accesses: readonly ChangeGroup[];
    readonly ioctls: readonly IoctlChange[];
  };
}

export interface CompareOptions {
  /** Values of booleans for the assertions. */
  readonly fixed: Both<BooleanValues>;
  /** Also compare all that guest types may do. */
  readonly all: boolean;
  readonly onProgress: (done: number, of: number, what: string) => void;
}

/**
 * Compares what two policies say of assertions, and of guests. Not compared: which labels things get
 * (type transitions, file contexts), `validatetrans`, and which role may become which.
 */
export function comparePolicies(
  policies: Both<PolicyEngine>,
  assertions: readonly Assertion[],
  { fixed, all, onProgress }: CompareOptions,
): PolicyDiff {
  const [before, after] = policies;
  const report = (engine: PolicyEngine, fixed: BooleanValues) =>
    evaluate(assertions, engine, {
      fixed,
      onProgress: (done, of) => onProgress(done, of, `questions to ${engine.origin}`),
    });
  const reports = [report(before, fixed[0]), report(after, fixed[1])] as const;
  const both = [before.db, after.db] as const;
  const names = compareNames(both);
  const diff = {
    policies,
    reports,
    assertions: compareAssertions(reports),
    names: all ? names : names.filter(({ kind }) => ALWAYS.includes(kind)),
    booleans: compareBooleans(both),
  };
  if (!all) return diff;
  const types = [...new Set(both.flatMap(guestTypes))]
    .filter((it) => both.every((db) => db.valueOf(it) !== undefined));
  const accesses = groupChanges(compareGuests(policies, types, onProgress));
  return { ...diff, guests: { types, accesses, ioctls: compareIoctls(both, types) } };
}

const ALWAYS: readonly LoneName["kind"][] = ["guest type", "permissive type"];

/** Is there anything to tell? */
export function differs({ assertions, names, booleans, guests }: PolicyDiff): boolean {
  return assertions.length + names.length + booleans.length +
      (guests === undefined ? 0 : guests.accesses.length + guests.ioctls.length) > 0;
}
