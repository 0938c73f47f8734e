import type { BooleanValues } from "../binary/with_booleans.ts";
import type { PolicyDb } from "../binary/policydb.ts";
import { RuleIndex } from "../rule_index.ts";
import { rulesBehind, rulesFor, switchesFor } from "../why.ts";
import type { PolicyAnswer, PolicyEngine, Question } from "../engine.ts";
import type { Assertion } from "./assertion.ts";
import { type Plan, plan, type Request } from "./plan.ts";
import { Reach } from "./reach.ts";
import type { AssertionVerdict, PolicyFinding, PolicyReport } from "./verdict.ts";

/** States that are asked in one go: libsepol keeps memory of each. */
const STATES_AT_ONCE = 16;
/** And questions: their answers are kept no longer than until they are judged. */
const QUESTIONS_AT_ONCE = 5_000;

export interface EvaluateOptions {
  /** Values of booleans that hold for all assertions; the policy has them. */
  readonly fixed?: BooleanValues;
  /** Told after each part of the work, in questions. */
  readonly onProgress?: (done: number, questions: number) => void;
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
  const open = tests.filter(({ plan }) => plan.known === undefined);
  const states = [...Map.groupBy(open, keyOf).values()];
  const questions = open.reduce((sum, { plan }) => sum + plan.questions, 0);
  let done = 0;
  for (const part of inParts(states)) {
    const answers = engine.ask(part.map(({ question }) => question));
    for (const [i, { test, request }] of part.entries()) {
      test.findings.push(...findingsOf(request, answers[i]!));
    }
    onProgress?.(done += part.length, questions);
  }
  return {
    origin: engine.origin,
    policyVersion: engine.db.version,
    verdicts: tests.map(verdictOf),
    states: states.length,
    questions,
    explain: explainer(engine.db),
  };
}

/** One assertion in one state. */
interface Test {
  readonly plan: Plan;
  readonly state: BooleanValues;
  readonly asked: BooleanValues;
  /** As far as it was asked. */
  readonly findings: PolicyFinding[];
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
  return plan.states.map(({ state, asked }) => ({ plan, state, asked, findings: [] }));
}

interface Asked {
  readonly test: Test;
  readonly request: Request;
  readonly question: Question;
}

/** Every question of every test, state by state, in parts that are asked one after the other. */
function* inParts(states: readonly (readonly Test[])[]): Iterable<Asked[]> {
  let part: Asked[] = [];
  let statesInPart = 0;
  for (const tests of states) {
    if (++statesInPart > STATES_AT_ONCE) {
      yield part;
      part = [];
      statesInPart = 1;
    }
    for (const test of tests) {
      for (const request of test.plan.requests()) {
        part.push({ test, request, question: { ...request.question, booleans: test.asked } });
        if (part.length < QUESTIONS_AT_ONCE) continue;
        yield part;
        part = [];
        statesInPart = 1;
      }
    }
  }
  if (part.length > 0) yield part;
}

/** Tests with the same key are asked of the same loaded policy. */
function keyOf({ asked }: Test): string {
  return JSON.stringify(asked);
}

function verdictOf({ plan, state, findings }: Test): AssertionVerdict {
  const { assertion, notes, pairs, known } = plan;
  const common = { assertion, state, notes, pairs, findings };
  if (known !== undefined) return { ...common, ...known };
  const isBroken = findings.some(({ decision }) => decision.answer !== "unknown");
  const outcome = isBroken ? "broken" : findings.length > 0 ? "unknown" : "holds";
  const lacking = findings.flatMap(({ decision }) => decision.missing ?? []);
  return { ...common, outcome, reason: outcome === "unknown" ? whyUnknown(lacking) : undefined };
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
