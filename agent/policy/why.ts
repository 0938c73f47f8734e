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
  const [answer] = engine.ask([question]);
  return new Map([...answer!.decisions].map(([permission, decision]) => {
    if (decision.answer === "unknown") {
      return [permission, { ...decision, rules: [], booleans: [] }];
    }
    const rules = rulesFor(question, permission, index);
    const values = new Map(Object.entries(question.booleans ?? {}));
    const holding = rulesBehind(question, permission, index);
    const booleans = decision.answer === "denied" && holding.length === 0
      ? switchesFor(rules, values, engine.db).map((it) => ({
        ...it,
        then: askWith(question, permission, it, engine),
      }))
      : [];
    return [permission, { ...decision, rules: holding, booleans }];
  }));
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

function askWith(
  question: Question,
  permission: string,
  { name, value }: BooleanValue,
  engine: PolicyEngine,
): PolicyDecision {
  const booleans = { ...question.booleans, [name]: value };
  const [answer] = engine.ask([{ ...question, permissions: [permission], booleans }]);
  return answer!.decisions.get(permission)!;
}
