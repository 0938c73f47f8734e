import {
  type AssertionVerdict,
  countOutcomes,
  type PolicyFinding,
  type PolicyReport,
} from "../policy/assertion/verdict.ts";
import type { BooleanValues } from "../policy/binary/with_booleans.ts";
import { inWords, wordOf } from "../policy/boolean_words.ts";
import { formatRule } from "../policy/rule_index.ts";

/** What `policy test` found, for programs; its schema is version 1. */
export function policyJson(report: PolicyReport): string {
  const { origin, policyVersion, verdicts, states, questions } = report;
  const { "not-applicable": notApplicable, ...counts } = countOutcomes(verdicts);
  const document = {
    schemaVersion: 1,
    policy: origin,
    policyVersion,
    summary: { tests: verdicts.length, ...counts, notApplicable, states, questions },
    tests: verdicts.map((verdict) => testOf(verdict, report)),
  };
  return JSON.stringify(document, null, 2);
}

function testOf(verdict: AssertionVerdict, report: PolicyReport) {
  const { assertion, state, outcome, reason, notes, pairs, findings } = verdict;
  const { id, desc, file, line, controls, means, hint } = assertion;
  return {
    id,
    desc,
    file,
    line,
    state: inWords(state),
    outcome,
    ...reason !== undefined && { reason },
    ...notes.length > 0 && { notes },
    ...controls.length > 0 && { controls },
    ...means !== undefined && { means },
    ...hint !== undefined && { hint },
    pairs,
    findings: findings.map((finding) => findingOf(finding, state, report)),
  };
}

function findingOf(finding: PolicyFinding, state: BooleanValues, report: PolicyReport) {
  const { source, target, tclass, permission, expected, decision, permissive } = finding;
  const { rules, booleans } = report.explain(finding, state);
  return {
    source,
    target,
    class: tclass,
    permission,
    expected,
    ...decision,
    permissive,
    ...rules.length > 0 && { rules: rules.map(formatRule) },
    ...decision.answer === "denied" && booleans.length > 0 &&
      { boolean: booleans.map(({ name, value }) => `${name}=${wordOf(value)}`) },
  };
}
