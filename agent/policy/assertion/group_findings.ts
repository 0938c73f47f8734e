import { wordOf } from "../boolean_words.ts";
import { formatRule } from "../rule_index.ts";
import { failedParts } from "../constraint.ts";
import {
  type AssertionVerdict,
  formatState,
  type PolicyFinding,
  type PolicyReport,
} from "./verdict.ts";

/** Findings of one assertion that differ in source, permission and state alone. */
export interface FindingGroup {
  readonly first: PolicyFinding;
  readonly permissions: readonly string[];
  /** Contexts. */
  readonly sources: readonly string[];
  /** As text; there is one where an assertion is asked once. */
  readonly states: readonly string[];
  /** What in the policy says so: rules, the parts of a constraint, booleans. */
  readonly because: readonly string[];
}

/**
 * Puts together what has one reason: a rule grants several permissions, an attribute several types,
 * and most booleans have nothing to do with it.
 *
 * @param verdicts Of one assertion.
 */
export function groupFindings(
  verdicts: readonly AssertionVerdict[],
  report: Pick<PolicyReport, "explain">,
): FindingGroup[] {
  const found = verdicts.flatMap(({ findings, state }) =>
    [...findings].map((it) => ({ it, state }))
  );
  const single = found.map(({ it, state }): FindingGroup => ({
    first: it,
    permissions: [it.permission],
    sources: [it.source],
    states: [formatState(state)],
    because: reasons(it, state, report),
  }));
  const byPair = merge(single, "permissions", ({ sources, states }) => [sources, states]);
  const bySource = merge(byPair, "sources", ({ permissions, states }) => [permissions, states]);
  return merge(bySource, "states", ({ permissions, sources }) => [permissions, sources]);
}

/** Makes one of those that are alike but for one list, which then has what is in all of theirs. */
function merge(
  groups: readonly FindingGroup[],
  key: "permissions" | "sources" | "states",
  others: (group: FindingGroup) => unknown,
): FindingGroup[] {
  const alike = Map.groupBy(groups, (group) => {
    const { first: { target, tclass, expected, decision, permissive }, because } = group;
    const { answer, missing } = decision;
    return JSON.stringify([
      target,
      tclass,
      expected,
      answer,
      missing,
      permissive,
      because,
      others(group),
    ]);
  });
  return [...alike.values()].map((of): FindingGroup => ({
    ...of[0]!,
    [key]: [...new Set(of.flatMap((group) => group[key]))],
  }));
}

function reasons(
  finding: PolicyFinding,
  state: AssertionVerdict["state"],
  report: Pick<PolicyReport, "explain">,
): string[] {
  const { answer, expected, constraint } = { ...finding, ...finding.decision };
  if (answer === "unknown") return [];
  if (answer === expected) return ["the domain is permissive: nothing is denied to it"];
  if (constraint !== undefined) return failedParts(constraint);
  const { rules, booleans } = report.explain(finding, state);
  if (answer === "allowed") return rules.map(formatRule);
  return [
    "no rule allows it",
    ...booleans.map(({ name, value }) => `${name}=${wordOf(value)} would allow it`),
  ];
}
