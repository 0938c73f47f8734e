import type { PolicyDb } from "../binary/policydb.ts";
import { ALLOWED } from "../binary/rules.ts";
import type { Condition, RuleIndex } from "../rule_index.ts";

/** Names of types and classes that either of two policies has: both sides number them alike. */
export class Names {
  readonly types: readonly string[];
  readonly classes: readonly string[];

  constructor(...policies: readonly PolicyDb[]) {
    this.types = [...new Set(policies.flatMap((db) => db.types()))];
    this.classes = [...new Set(policies.flatMap((db) => [...db.classes.keys()]))];
  }
}

/** When rules grant a permission. */
export interface Grant {
  readonly always: boolean;
  /** Otherwise: while any of these holds. */
  readonly conditions: readonly Condition[];
}

/** What rules grant to one type, by cell: `type * classes + class`, numbered as in {@linkcode Names}. */
export interface Granted {
  /** Bits as the policy's class has them. */
  readonly always: Uint32Array;
  /** The same for each condition. */
  readonly conditional: ReadonlyMap<number, ReadonlyMap<Condition, number>>;
}

/** The allow rules of one policy, spread over types. Constraints are left out. */
export class Grants {
  readonly #db: PolicyDb;
  readonly #index: RuleIndex;
  readonly #classes: number;
  /** By value of a class, its number. */
  readonly #classNumbers = new Map<number, number>();
  /** By value of a type or an attribute, numbers of the types that it stands for. */
  readonly #members = new Map<number, number[]>();

  constructor(db: PolicyDb, index: RuleIndex, { types, classes }: Names) {
    this.#db = db;
    this.#index = index;
    this.#classes = classes.length;
    for (const [number, name] of classes.entries()) {
      const known = db.classes.get(name);
      if (known !== undefined) this.#classNumbers.set(known.value, number);
    }
    for (const [number, name] of types.entries()) {
      for (const group of db.groupsOf(db.valueOf(name) ?? 0)) {
        const members = this.#members.get(group);
        if (members === undefined) this.#members.set(group, [number]);
        else members.push(number);
      }
    }
  }

  /** @param source Name of a type. */
  of(source: string, types: number): Granted {
    const always = new Uint32Array(types * this.#classes);
    const conditional = new Map<number, Map<Condition, number>>();
    const groups = new Set(this.#db.groupsOf(this.#db.valueOf(source) ?? 0));
    const { rules } = this.#db;
    for (let rule = 0; rule < rules.length; rule++) {
      if (rules.kind[rule] !== ALLOWED || !groups.has(rules.source[rule]!)) continue;
      const tclass = this.#classNumbers.get(rules.tclass[rule]!)!;
      const bits = rules.data[rule]!;
      const condition = this.#index.conditionOf(rule);
      for (const type of this.#members.get(rules.target[rule]!) ?? []) {
        const cell = type * this.#classes + tclass;
        if (condition === undefined) always[cell]! |= bits;
        else {
          const of = conditional.get(cell) ?? new Map<Condition, number>();
          conditional.set(cell, of.set(condition, (of.get(condition) ?? 0) | bits));
        }
      }
    }
    return { always, conditional };
  }
}
