import type { PolicyDb } from "./binary/policydb.ts";
import { ALLOWED, AUDITDENY, type Step } from "./binary/rules.ts";
import type { PolicyClass } from "./binary/symbols.ts";
import { evaluate } from "./binary/with_booleans.ts";

export type RuleKind = "allow" | "dontaudit";

/** One access vector rule, as the policy has it: its source and target may be attributes. */
export interface Rule {
  readonly kind: RuleKind;
  readonly source: string;
  readonly target: string;
  readonly tclass: string;
  readonly permissions: readonly string[];
  /** Absent from a rule that always holds. */
  readonly condition?: Condition;
}

/** When a conditional rule holds. */
export interface Condition {
  /** `virt_use_nfs && !virt_use_samba`, as it has to be for the rule to hold. */
  readonly text: string;
  /** Names of the booleans in it. */
  readonly booleans: readonly string[];
  /** Does the rule hold with these values? Those that are not named are as the policy has them. */
  holds(values: ReadonlyMap<string, boolean>): boolean;
}

/** Finds the rules behind an answer, as sesearch(1) does: through the attributes of both types. */
export class RuleIndex {
  readonly #db: PolicyDb;
  /** First rule by source, target and class; the others are linked to it. */
  readonly #first = new Map<number, number>();
  readonly #next: Int32Array;
  readonly #classes: ReadonlyMap<number, PolicyClass>;
  readonly #conditions = new Map<number, Condition>();

  constructor(db: PolicyDb) {
    this.#db = db;
    this.#classes = new Map([...db.classes.values()].map((it) => [it.value, it]));
    const { rules } = db;
    this.#next = new Int32Array(rules.length).fill(-1);
    for (let rule = rules.length - 1; rule >= 0; rule--) {
      const kind = rules.kind[rule]!;
      if (kind !== ALLOWED && kind !== AUDITDENY) continue;
      const key = keyOf(rules.source[rule]!, rules.target[rule]!, rules.tclass[rule]!);
      this.#next[rule] = this.#first.get(key) ?? -1;
      this.#first.set(key, rule);
    }
  }

  /**
   * Rules about two types and a class, whether they hold or not.
   *
   * @param source Name of a type. A name that the policy lacks has no rules.
   * @param permission Only those about this one.
   */
  find(source: string, target: string, tclass: string, permission?: string): Rule[] {
    const value = this.#db.classes.get(tclass)?.value;
    if (value === undefined) return [];
    const found: Rule[] = [];
    for (const from of this.#groups(source)) {
      for (const to of this.#groups(target)) {
        let rule = this.#first.get(keyOf(from, to, value)) ?? -1;
        for (; rule >= 0; rule = this.#next[rule]!) {
          const read = this.#read(rule);
          if (permission === undefined || read.permissions.includes(permission)) found.push(read);
        }
      }
    }
    return found;
  }

  /** When a rule of the policy holds, by its number; `undefined`: always. The same object for the same. */
  conditionOf(rule: number): Condition | undefined {
    const { rules, conditionals } = this.#db;
    const number = rules.conditional[rule]!;
    if (number < 0) return undefined;
    const key = number * 2 + rules.branch[rule]!;
    const known = this.#conditions.get(key);
    if (known !== undefined) return known;
    const made = this.#condition(conditionals[number]!.expression, rules.branch[rule] === 1);
    this.#conditions.set(key, made);
    return made;
  }

  #groups(type: string): readonly number[] {
    return this.#db.groupsOf(this.#db.valueOf(type) ?? 0);
  }

  #read(rule: number): Rule {
    const { rules } = this.#db;
    const { name, permissions } = this.#classes.get(rules.tclass[rule]!)!;
    const kind = rules.kind[rule] === ALLOWED ? "allow" : "dontaudit";
    const bits = kind === "allow" ? rules.data[rule]! : ~rules.data[rule]!;
    const condition = this.conditionOf(rule);
    return {
      kind,
      source: this.#db.nameOf(rules.source[rule]!),
      target: this.#db.nameOf(rules.target[rule]!),
      tclass: name,
      permissions: permissions.filter((_, bit) => (bits & (1 << bit)) !== 0),
      ...condition !== undefined && { condition },
    };
  }

  #condition(expression: readonly Step[], branch: boolean): Condition {
    const byValue = new Map(this.#db.booleans.map((it) => [it.value, it]));
    const nameOf = (value: number) => byValue.get(value)?.name ?? `boolean ${value}`;
    const text = inWords(expression, nameOf);
    const used = expression.filter(({ operator }) => operator === "boolean");
    return {
      text: branch ? text : /^\w+$/.test(text) ? `!${text}` : `!(${text})`,
      booleans: [...new Set(used.map(({ boolean }) => nameOf(boolean)))],
      holds: (values) => {
        const value = (number: number) =>
          values.get(nameOf(number)) ?? byValue.get(number)?.on ?? false;
        return evaluate(expression, value) === branch;
      },
    };
  }
}

/** A policy has at most 65535 types and as many classes, so that this is exact. */
function keyOf(source: number, target: number, tclass: number): number {
  return (source * 0x10000 + target) * 0x10000 + tclass;
}

const SIGNS = { or: "||", and: "&&", xor: "^", eq: "==", neq: "!=" } as const;

/** The expression as a policy's source has it. */
function inWords(expression: readonly Step[], nameOf: (value: number) => string): string {
  const stack: string[] = [];
  const atom = (text: string) => /^!?\w+$/.test(text) ? text : `(${text})`;
  for (const { operator, boolean } of expression) {
    if (operator === "boolean") stack.push(nameOf(boolean));
    else if (operator === "not") stack.push(`!${atom(stack.pop() ?? "")}`);
    else {
      const right = atom(stack.pop() ?? "");
      stack.push(`${atom(stack.pop() ?? "")} ${SIGNS[operator]} ${right}`);
    }
  }
  return stack[0] ?? "";
}

/** As a policy's source has it: `allow svirt_t nfs_t:file { read open }; [ virt_use_nfs ]`. */
export function formatRule({ kind, source, target, tclass, permissions, condition }: Rule): string {
  const list = permissions.length === 1 ? permissions[0] : `{ ${permissions.join(" ")} }`;
  const rule = `${kind} ${source} ${target}:${tclass} ${list};`;
  return condition === undefined ? rule : `${rule} [ ${condition.text} ]`;
}
