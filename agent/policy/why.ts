import { parseContext } from "../label/context.ts";
import type { PolicyDb } from "./binary/policydb.ts";
import type { PolicyDecision, PolicyEngine, Question } from "./engine.ts";
import type { Rule, RuleIndex } from "./rule_index.ts";

/** One value of a boolean. */
export interface BooleanValue {
  readonly name: string;
  readonly value: boolean;
}

/** Why the policy answers so about one permission. */
export interface Why extends PolicyDecision {
  /** Rules that grant it now. */
  readonly rules: readonly Rule[];
  /** Each alone would make it allowed, or leave it to a constraint, if it had this value. */
  readonly booleans: readonly (BooleanValue & { readonly then: PolicyDecision })[];
  /** Rules that would grant it, but for several booleans; empty where one would do. */
  readonly conditional: readonly Rule[];
}

/**
 * Finds what says so: the rules, the booleans that would change it.
 *
 * @param question About one permission or several; answered for each.
 */
export function why(
  question: Question,
  engine: PolicyEngine,
  index: RuleIndex,
): ReadonlyMap<string, Why> {
  return whyAll([question], engine, index)[0]!;
}

/** The same for many questions, in their order: the engine is asked twice, however many there are. */
export function whyAll(
  questions: readonly Question[],
  engine: PolicyEngine,
  index: RuleIndex,
): readonly ReadonlyMap<string, Why>[] {
  const supposed: Supposed[] = [];
  const answers = engine.ask(questions).map(({ decisions }, i) =>
    new Map([...decisions].map(([permission, decision]) => {
      const none: readonly Rule[] = [];
      const found = { ...decision, rules: none, booleans: [] as Switch[], conditional: none };
      if (decision.answer === "unknown") return [permission, found];
      const question = questions[i]!;
      found.rules = rulesBehind(question, permission, index);
      if (decision.answer === "denied" && found.rules.length === 0) {
        const rules = rulesFor(question, permission, index);
        const values = new Map(Object.entries(question.booleans ?? {}));
        const switches = switchesFor(rules, values, engine.db);
        if (switches.length === 0) found.conditional = rules;
        for (const to of switches) {
          const booleans = { ...question.booleans, [to.name]: to.value };
          const asked = { ...question, permissions: [permission], booleans };
          supposed.push({ question: asked, to, answerTo: found.booleans });
        }
      }
      return [permission, found];
    }))
  );
  const then = supposed.length === 0 ? [] : engine.ask(supposed.map(({ question }) => question));
  for (const [i, { question, to, answerTo }] of supposed.entries()) {
    answerTo.push({ ...to, then: then[i]!.decisions.get(question.permissions[0]!)! });
  }
  return answers;
}

/** A boolean switched, and what the policy says then. */
type Switch = Why["booleans"][number];

/** A question with one boolean switched, and where its answer goes. */
interface Supposed {
  readonly question: Question;
  readonly to: BooleanValue;
  readonly answerTo: Switch[];
}

/** Rules that grant a permission with booleans as the question has them. */
export function rulesBehind(question: Question, permission: string, index: RuleIndex): Rule[] {
  const values = new Map(Object.entries(question.booleans ?? {}));
  return rulesFor(question, permission, index)
    .filter(({ condition }) => condition?.holds(values) ?? true);
}

/** Allow rules about one permission, whether they hold or not. */
export function rulesFor(
  { source, target, tclass }: Question,
  permission: string,
  index: RuleIndex,
): Rule[] {
  const [from, to] = [parseContext(source).type, parseContext(target).type];
  return index.find(from, to, tclass, permission).filter(({ kind }) => kind === "allow");
}

/** Booleans any one of which, switched, makes a rule hold. */
export function switchesFor(
  rules: readonly Rule[],
  values: ReadonlyMap<string, boolean>,
  db: PolicyDb,
): BooleanValue[] {
  const found = new Map<string, BooleanValue>();
  for (const { condition } of rules) {
    for (const name of condition?.booleans ?? []) {
      const now = values.get(name) ?? db.booleans.find((it) => it.name === name)!.on;
      if (condition!.holds(new Map([...values, [name, !now]]))) {
        found.set(name, { name, value: !now });
      }
    }
  }
  return [...found.values()].sort((a, b) => a.name < b.name ? -1 : 1);
}
