import type { PolicyDb } from "../binary/policydb.ts";
import type { BooleanValues } from "../binary/with_booleans.ts";
import type { Condition } from "../rule_index.ts";
import type { Grant, Granted, Names } from "./grants.ts";

/** One permission that rules of two policies grant differently. */
export interface GrantChange {
  readonly target: string;
  readonly tclass: string;
  readonly permission: string;
  /** Values of booleans with which it is granted by one policy alone. */
  readonly state: BooleanValues;
}

/** What a policy grants to one type. */
export interface GrantedBy {
  readonly db: PolicyDb;
  readonly granted: Granted;
}

export type Both<T> = readonly [before: T, after: T];

/** Conditions with more booleans than this are not looked into for a state that tells them apart. */
const MOST_BOOLEANS = 10;

/** Finds every permission that one of the two grants, in some state of booleans, and the other not. */
export function* compareGrants(both: Both<GrantedBy>, names: Names): Generator<GrantChange> {
  const { types, classes } = names;
  const [before, after] = both;
  const states = new TellingStates([before.db, after.db], (one, other) => one !== other);
  const layouts = classes.map((name) => layoutOf(name, before.db, after.db));
  for (const cell of differingCells(before.granted, after.granted, layouts)) {
    const tclass = classes[cell % classes.length]!;
    const target = types[Math.floor(cell / classes.length)]!;
    for (const permission of layouts[cell % classes.length]!.permissions) {
      const state = states.of(both, cell, tclass, permission);
      if (state !== undefined) yield { target, tclass, permission, state };
    }
  }
}

/** Finds a state of booleans in which what two policies grant has some relation to each other. */
export class TellingStates {
  readonly #policies: Both<PolicyDb>;
  readonly #tells: (before: boolean, after: boolean) => boolean;
  readonly #found = new Map<string, BooleanValues | undefined>();

  /** @param tells Given whether each of them grants it. */
  constructor(policies: Both<PolicyDb>, tells: (before: boolean, after: boolean) => boolean) {
    this.#policies = policies;
    this.#tells = tells;
  }

  /** Such a state; of several one that is a policy's own; `undefined` where there is none. */
  of(
    both: Both<GrantedBy>,
    cell: number,
    tclass: string,
    permission: string,
  ): BooleanValues | undefined {
    const [one, other] = both.map(({ db, granted }) =>
      grantOf(granted, cell, db.classes.get(tclass)?.permissions.indexOf(permission) ?? -1)
    ) as [Grant, Grant];
    const key = `${keyOf(one)} / ${keyOf(other)}`;
    if (!this.#found.has(key)) this.#found.set(key, this.#find(one, other));
    return this.#found.get(key);
  }

  #find(one: Grant, other: Grant): BooleanValues | undefined {
    const names = booleansOf([...one.conditions, ...other.conditions]);
    const own = this.#policies.map((db) => {
      const values = new Map(db.booleans.map(({ name, on }) => [name, on]));
      return new Map(names.map((name) => [name, values.get(name) ?? false]));
    });
    for (const values of [...own, ...allValues(names)]) {
      if (this.#tells(holds(one, values), holds(other, values))) return Object.fromEntries(values);
    }
    return undefined;
  }
}

/** A class of both policies. */
interface Layout {
  /** Of either. */
  readonly permissions: readonly string[];
  /** Their bits mean the same in both. */
  readonly isSame: boolean;
}

function layoutOf(tclass: string, ...policies: readonly PolicyDb[]): Layout {
  const [one = [], other = []] = policies.map((db) => db.classes.get(tclass)?.permissions);
  return {
    permissions: [...new Set([...one, ...other])].filter(Boolean),
    isSame: one.length === other.length && one.every((name, bit) => other[bit] === name),
  };
}

function* differingCells(
  before: Granted,
  after: Granted,
  layouts: readonly Layout[],
): Generator<number> {
  const [one, other] = [before.always, after.always];
  for (let cell = 0; cell < one.length; cell++) {
    const isPlain = !before.conditional.has(cell) && !after.conditional.has(cell);
    if (isPlain && one[cell] === 0 && other[cell] === 0) continue;
    if (!isPlain || one[cell] !== other[cell] || !layouts[cell % layouts.length]!.isSame) {
      yield cell;
    }
  }
}

function grantOf({ always, conditional }: Granted, cell: number, bit: number): Grant {
  if (bit < 0) return NEVER;
  const mask = 1 << bit;
  if ((always[cell]! & mask) !== 0) return ALWAYS;
  const conditions = [...conditional.get(cell) ?? []].flatMap(([condition, bits]) =>
    (bits & mask) !== 0 ? condition : []
  );
  return conditions.length === 0 ? NEVER : { always: false, conditions };
}

const ALWAYS: Grant = { always: true, conditions: [] };
const NEVER: Grant = { always: false, conditions: [] };

function keyOf({ always, conditions }: Grant): string {
  return always ? "always" : conditions.map(({ text }) => text).sort().join(" | ");
}

function holds({ always, conditions }: Grant, values: ReadonlyMap<string, boolean>): boolean {
  return always || conditions.some((it) => it.holds(values));
}

function booleansOf(conditions: readonly Condition[]): string[] {
  return [...new Set(conditions.flatMap(({ booleans }) => booleans))].sort();
}

function* allValues(names: readonly string[]): Generator<ReadonlyMap<string, boolean>> {
  if (names.length > MOST_BOOLEANS) {
    throw new RangeError(`Cannot compare rules that depend on ${names.length} booleans`);
  }
  for (let bits = 0; bits < 1 << names.length; bits++) {
    yield new Map(names.map((name, i) => [name, (bits >> i & 1) === 1]));
  }
}
