import type { PolicyDb } from "../binary/policydb.ts";
import { ALLOWED } from "../binary/rules.ts";
import type { PolicyClass } from "../binary/symbols.ts";

/** What a rule would have to grant to matter. */
export interface Access {
  readonly sources: readonly string[];
  readonly targets: readonly string[];
  readonly tclass: PolicyClass;
  /** Any of these. */
  readonly permissions: readonly string[];
}

/**
 * The allow rules of a policy by class: which of them could grant something, in whatever state
 * booleans are. It decides nothing: constraints are left out, and what a rule could grant the engine
 * is asked about. What none could grant is denied.
 */
export class Reach {
  readonly #db: PolicyDb;
  #byClass: ReadonlyMap<number, readonly number[]> | undefined;

  constructor(db: PolicyDb) {
    this.#db = db;
  }

  /** Pairs of a source and a target, by their places, that some rule could grant something. */
  pairs(access: Access): (readonly [source: number, target: number])[] {
    const { source, target } = this.#db.rules;
    const [sources, targets] = [this.#groups(access.sources), this.#groups(access.targets)];
    const width = access.targets.length;
    const found = new Set<number>();
    for (const rule of this.#granting(access, sources, targets)) {
      for (const s of sources.get(source[rule]!)!) {
        for (const t of targets.get(target[rule]!)!) found.add(s * width + t);
      }
    }
    return [...found].sort((a, b) => a - b).map((it) => [Math.floor(it / width), it % width]);
  }

  /** The booleans that such a rule stands under. */
  booleans(access: Access): Set<string> {
    const [sources, targets] = [this.#groups(access.sources), this.#groups(access.targets)];
    const names = new Set<string>();
    for (const rule of this.#granting(access, sources, targets)) {
      for (const name of this.#booleansOf(rule)) names.add(name);
    }
    return names;
  }

  *#granting(
    { tclass, permissions }: Access,
    sources: ReadonlyMap<number, unknown>,
    targets: ReadonlyMap<number, unknown>,
  ): Iterable<number> {
    const { source, target, data } = this.#db.rules;
    const bits = permissions.map((it) => tclass.permissions.indexOf(it)).filter((bit) => bit >= 0);
    const mask = bits.reduce((all, bit) => all | 1 << bit, 0);
    this.#byClass ??= this.#readClasses();
    for (const rule of this.#byClass.get(tclass.value) ?? []) {
      if ((data[rule]! & mask) === 0) continue;
      if (sources.has(source[rule]!) && targets.has(target[rule]!)) yield rule;
    }
  }

  #booleansOf(rule: number): string[] {
    const conditional = this.#db.conditionals[this.#db.rules.conditional[rule]!];
    const values = new Set(
      conditional?.expression.flatMap((it) => it.operator === "boolean" ? it.boolean : []),
    );
    return this.#db.booleans.filter(({ value }) => values.has(value)).map(({ name }) => name);
  }

  /** Places of types by the values under which rules may name them. */
  #groups(types: readonly string[]): ReadonlyMap<number, readonly number[]> {
    const places = new Map<number, number[]>();
    for (const [place, type] of types.entries()) {
      for (const group of this.#db.groupsOf(this.#db.valueOf(type) ?? 0)) {
        const of = places.get(group);
        if (of === undefined) places.set(group, [place]);
        else of.push(place);
      }
    }
    return places;
  }

  #readClasses(): ReadonlyMap<number, readonly number[]> {
    const { rules } = this.#db;
    const byClass = new Map<number, number[]>();
    for (const { value } of this.#db.classes.values()) byClass.set(value, []);
    for (let rule = 0; rule < rules.length; rule++) {
      if (rules.kind[rule] === ALLOWED) byClass.get(rules.tclass[rule]!)?.push(rule);
    }
    return byClass;
  }
}
