import type { BooleanValues } from "../binary/with_booleans.ts";
import type { PolicyDb } from "../binary/policydb.ts";
import { RuleIndex } from "../rule_index.ts";
import { rulesBehind, rulesFor, switchesFor } from "../why.ts";
import type { PolicyAnswer, PolicyEngine, Question } from "../engine.ts";
import type { Assertion } from "./assertion.ts";
import { type Plan, plan, type Request } from "./plan.ts";
import { Reach } from "./reach.ts";
import type { AssertionVerdict, PolicyFinding, PolicyReport } from "./verdict.ts";

/** States that are asked in one go: then there is something to tell, and libsepol's memory counts. */
const AT_ONCE = 16;

export interface EvaluateOptions {
  /** Values of booleans that hold for all assertions; the policy has them. */
  readonly fixed?: BooleanValues;
  /** Told after each part of the work. */
  readonly onProgress?: (statesDone: number, states: number) => void;
}

/** Asks a policy whether assertions hold, each in every state of booleans that it speaks of. */
export function evaluate(
  assertions: readonly Assertion[],
  engine: PolicyEngine,
  { fixed = {}, onProgress }: EvaluateOptions = {},
): PolicyReport {
  const reach = new Reach(engine.db);
  const tests = assertions.flatMap((assertion) =>
    testsOf(plan(assertion, engine.db, reach, fixed))
  );
  const groups = [
    ...Map.groupBy(tests.filter(({ plan }) => plan.known === undefined), keyOf).values(),
  ];
  const answers = new Map<Test, readonly PolicyAnswer[]>();
  for (let first = 0; first < groups.length; first += AT_ONCE) {
    const asked = groups.slice(first, first + AT_ONCE).flat();
    const answered = engine.ask(asked.flatMap(questionsOf));
    let at = 0;
    for (const test of asked) {
      answers.set(test, answered.slice(at, at += test.plan.requests.length));
    }
    onProgress?.(Math.min(first + AT_ONCE, groups.length), groups.length);
  }
  const verdicts = tests.map((test) => verdictOf(test, answers.get(test) ?? []));
  return {
    origin: engine.origin,
    policyVersion: engine.db.version,
    verdicts,
    states: groups.length,
    questions: [...answers.values()].reduce((sum, { length }) => sum + length, 0),
    explain: explainer(engine.db),
  };
}

/** One assertion in one state. */
interface Test {
  readonly plan: Plan;
  readonly state: BooleanValues;
  readonly asked: BooleanValues;
}

/** Rules are indexed when the first one is asked for: where all is well none is. */
function explainer(db: PolicyDb): PolicyReport["explain"] {
  let index: RuleIndex | undefined;
  return ({ source, target, tclass, permission, decision }, booleans) => {
    if (decision.answer === "unknown") return { rules: [], booleans: [] };
    index ??= new RuleIndex(db);
    const question = { source, target, tclass, permissions: [permission], booleans };
    const rules = rulesFor(question, permission, index);
    return {
      rules: rulesBehind(question, permission, index),
      booleans: switchesFor(rules, new Map(Object.entries(booleans)), db),
    };
  };
}

function testsOf(plan: Plan): Test[] {
  return plan.states.map(({ state, asked }) => ({ plan, state, asked }));
}

/** Tests with the same key are asked of the same loaded policy. */
function keyOf({ asked }: Test): string {
  return JSON.stringify(asked);
}

function questionsOf({ plan, asked }: Test): Question[] {
  return plan.requests.map(({ question }) => ({ ...question, booleans: asked }));
}

function verdictOf({ plan, state }: Test, answers: readonly PolicyAnswer[]): AssertionVerdict {
  const { assertion, notes, pairs, known } = plan;
  const common = { assertion, state, notes, pairs };
  if (known !== undefined) return { ...common, ...known, findings: [] };
  const findings = plan.requests.flatMap((request, i) => findingsOf(request, answers[i]!));
  const isBroken = findings.some(({ decision }) => decision.answer !== "unknown");
  const lacking = findings.flatMap(({ decision }) => decision.missing ?? []);
  const outcome = isBroken ? "broken" : findings.length > 0 ? "unknown" : "holds";
  return {
    ...common,
    findings,
    outcome,
    reason: outcome === "unknown" ? whyUnknown(lacking) : undefined,
  };
}

function whyUnknown(lacking: readonly string[]): string {
  if (lacking.length === 0) return "the policy could not be asked in this state";
  return `the policy has no ${[...new Set(lacking)].join(", no ")}`;
}

function findingsOf(
  { question: { source, target, tclass }, expected }: Request,
  { decisions, permissive }: PolicyAnswer,
): PolicyFinding[] {
  const findings: PolicyFinding[] = [];
  for (const [permission, wanted] of expected) {
    const decision = decisions.get(permission)!;
    const isDenied = decision.answer === "denied" && !(permissive && wanted === "denied");
    const isAsExpected = wanted === "denied" ? isDenied : decision.answer === "allowed";
    if (isAsExpected) continue;
    findings.push({ source, target, tclass, permission, expected: wanted, decision, permissive });
  }
  return findings;
}
