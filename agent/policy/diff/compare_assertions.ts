import type { Assertion } from "../assertion/assertion.ts";
import type {
  AssertionVerdict,
  Outcome,
  PolicyFinding,
  PolicyReport,
} from "../assertion/verdict.ts";
import type { BooleanValues } from "../binary/with_booleans.ts";
import type { Both } from "./compare_grants.ts";

/** An assertion on which two policies do not agree. */
export interface AssertionChange {
  readonly assertion: Assertion;
  readonly state: BooleanValues;
  readonly before: Outcome;
  readonly after: Outcome;
  /** What each policy alone says against it. */
  readonly gone: AssertionVerdict;
  readonly appeared: AssertionVerdict;
}

/** Finds the verdicts that changed, state by state. */
export function compareAssertions([before, after]: Both<PolicyReport>): AssertionChange[] {
  const old = Map.groupBy(before.verdicts, ({ assertion }) => assertion);
  return after.verdicts.flatMap((now) =>
    (old.get(now.assertion) ?? []).filter(({ state }) => agree(state, now.state)).flatMap((was) => {
      const gone = without(was, now);
      const appeared = without(now, was);
      const isSame = was.outcome === now.outcome && gone.findings.length === 0 &&
        appeared.findings.length === 0;
      const { assertion } = now;
      const state = { ...was.state, ...now.state };
      const outcomes = { before: was.outcome, after: now.outcome };
      return isSame ? [] : [{ assertion, state, ...outcomes, gone, appeared }];
    })
  );
}

/** One policy may not have the booleans of the other, or no rules that depend on them. */
function agree(one: BooleanValues, other: BooleanValues): boolean {
  return Object.entries(one).every(([name, on]) => (other[name] ?? on) === on);
}

function without(one: AssertionVerdict, other: AssertionVerdict): AssertionVerdict {
  const known = new Set(other.findings.map(keyOf));
  return { ...one, findings: one.findings.filter((it) => !known.has(keyOf(it))) };
}

function keyOf({ source, target, tclass, permission, decision, permissive }: PolicyFinding) {
  return JSON.stringify([source, target, tclass, permission, decision.answer, permissive]);
}
