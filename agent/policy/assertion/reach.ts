import type { PolicyDb } from "../binary/policydb.ts";
import { ALLOWED } from "../binary/rules.ts";
import type { PolicyClass } from "../binary/symbols.ts";
import { MANY, type Places, PlacesOfFew, PlacesOfMany } from "./places.ts";

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
  /** By class, then by source. */
  #bySource: ReadonlyMap<number, ReadonlyMap<number, readonly number[]>> | undefined;
  /** Of lists of types that were asked about: those of an assertion are, for each of its classes. */
  readonly #placesOf = new WeakMap<readonly string[], Places>();

  constructor(db: PolicyDb) {
    this.#db = db;
  }

  /** Pairs of a source and a target, by their places, that some rule could grant something. */
  pairs(access: Access): (readonly [source: number, target: number])[] {
    const { source, target } = this.#db.rules;
    const [sources, targets] = [this.#places(access.sources), this.#places(access.targets)];
    const width = access.targets.length;
    const found = new Set<number>();
    for (const rule of this.#granting(access, sources, targets)) {
      for (const s of sources.under(source[rule]!)) {
        for (const t of targets.under(target[rule]!)) found.add(s * width + t);
      }
    }
    return [...found].sort((a, b) => a - b).map((it) => [Math.floor(it / width), it % width]);
  }

  /** The booleans that such a rule stands under. */
  booleans(access: Access): Set<string> {
    const [sources, targets] = [this.#places(access.sources), this.#places(access.targets)];
    const names = new Set<string>();
    for (const rule of this.#granting(access, sources, targets)) {
      for (const name of this.#booleansOf(rule)) names.add(name);
    }
    return names;
  }

  *#granting(
    { tclass, permissions }: Access,
    sources: Places,
    targets: Places,
  ): Iterable<number> {
    const { target, data } = this.#db.rules;
    const bits = permissions.map((it) => tclass.permissions.indexOf(it)).filter((bit) => bit >= 0);
    const mask = bits.reduce((all, bit) => all | 1 << bit, 0);
    this.#bySource ??= this.#readSources();
    const bySource = this.#bySource.get(tclass.value);
    for (const group of bySource === undefined ? [] : sources.groups ?? bySource.keys()) {
      const rules = bySource!.get(group);
      if (rules === undefined || sources.under(group).length === 0) continue;
      for (const rule of rules) {
        if ((data[rule]! & mask) !== 0 && targets.under(target[rule]!).length > 0) yield rule;
      }
    }
  }

  #booleansOf(rule: number): string[] {
    const conditional = this.#db.conditionals[this.#db.rules.conditional[rule]!];
    const values = new Set(
      conditional?.expression.flatMap((it) => it.operator === "boolean" ? it.boolean : []),
    );
    return this.#db.booleans.filter(({ value }) => values.has(value)).map(({ name }) => name);
  }

  #places(types: readonly string[]): Places {
    const places = this.#placesOf.get(types) ??
      (types.length > MANY ? new PlacesOfMany(types, this.#db) : new PlacesOfFew(types, this.#db));
    this.#placesOf.set(types, places);
    return places;
  }

  #readSources(): ReadonlyMap<number, ReadonlyMap<number, readonly number[]>> {
    const { length, kind, tclass, source } = this.#db.rules;
    const classes = [...this.#db.classes.values()];
    const byClass = new Map(classes.map(({ value }) => [value, new Map<number, number[]>()]));
    for (let rule = 0; rule < length; rule++) {
      if (kind[rule] !== ALLOWED) continue;
      const bySource = byClass.get(tclass[rule]!)!;
      const of = bySource.get(source[rule]!);
      if (of === undefined) bySource.set(source[rule]!, [rule]);
      else of.push(rule);
    }
    return byClass;
  }
}
