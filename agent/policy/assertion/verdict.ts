import type { BooleanValues } from "../binary/with_booleans.ts";
import { wordOf } from "../boolean_words.ts";
import type { PolicyDecision } from "../engine.ts";
import type { Rule } from "../rule_index.ts";
import type { BooleanValue } from "../why.ts";
import type { Assertion } from "./assertion.ts";

/**
 * What came of an assertion in one state of booleans.
 *
 * - `broken`: the policy says otherwise
 * - `unknown`: it could not be asked; never counts as passed
 * - `not-applicable`: the assertion itself says that it does not speak of such a policy or state
 * - `disabled`: its file says why it is not asked
 */
export type Outcome = "holds" | "broken" | "unknown" | "not-applicable" | "disabled";

/** One permission about which the policy does not say what the assertion does. */
export interface PolicyFinding {
  readonly source: string;
  readonly target: string;
  readonly tclass: string;
  readonly permission: string;
  readonly expected: "allowed" | "denied";
  readonly decision: PolicyDecision;
  /** The source is permissive: what is denied to it happens all the same. */
  readonly permissive: boolean;
}

/** One assertion in one state of booleans: what reports call a test. */
export interface AssertionVerdict {
  readonly assertion: Assertion;
  /** Those that the assertion or the command line names; the others are as the policy has them. */
  readonly state: BooleanValues;
  readonly outcome: Outcome;
  /** For all but `holds` and `broken`: why. */
  readonly reason: string | undefined;
  /** What the assertion names and was not asked about, and why that is right. */
  readonly notes: readonly string[];
  /** Pairs of contexts it speaks of. */
  readonly pairs: number;
  readonly findings: readonly PolicyFinding[];
}

/** Rules that grant a permission, and booleans that would. */
export interface Explanation {
  readonly rules: readonly Rule[];
  /** Each alone would make a rule hold, if it had this value. */
  readonly booleans: readonly BooleanValue[];
}

/** What `policy test` found. */
export interface PolicyReport {
  /** Of the policy: its file, or `the running kernel`. */
  readonly origin: string;
  readonly policyVersion: number;
  readonly verdicts: readonly AssertionVerdict[];
  /** Distinct states of booleans that it was asked in. */
  readonly states: number;
  readonly questions: number;
  /** What in the policy says so, in the state in which it was found. */
  explain(finding: PolicyFinding, state: BooleanValues): Explanation;
}

/** How many there are of each. */
export function countOutcomes(verdicts: readonly AssertionVerdict[]): Record<Outcome, number> {
  const counts = { holds: 0, broken: 0, unknown: 0, "not-applicable": 0, disabled: 0 };
  for (const { outcome } of verdicts) counts[outcome]++;
  return counts;
}

/** `virt_use_nfs=on virt_use_samba=off`; empty for the policy as it is. */
export function formatState(state: BooleanValues): string {
  return Object.entries(state).map(([name, on]) => `${name}=${wordOf(on)}`).join(" ");
}
