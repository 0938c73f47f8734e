import type { PolicyDb } from "../binary/policydb.ts";

/**
 * Where in a list of types those stand that a rule means: rules name a type or an attribute, by its
 * value in the policy.
 */
export interface Places {
  under(group: number): readonly number[];
  /** All groups with any; absent where it would take long to know. */
  readonly groups?: Iterable<number>;
}

/** From how many types on it is faster to ask what a rule's attribute has than the other way round. */
export const MANY = 64;

/** Goes from the types to their attributes. */
export class PlacesOfFew implements Places {
  readonly #places = new Map<number, number[]>();

  constructor(types: readonly string[], db: PolicyDb) {
    for (const [place, type] of types.entries()) {
      for (const group of db.groupsOf(db.valueOf(type) ?? 0)) {
        const of = this.#places.get(group);
        if (of === undefined) this.#places.set(group, [place]);
        else of.push(place);
      }
    }
  }

  under(group: number): readonly number[] {
    return this.#places.get(group) ?? NONE;
  }

  get groups(): Iterable<number> {
    return this.#places.keys();
  }
}

/** Goes from attributes to their types, of those that rules turn out to name. */
export class PlacesOfMany implements Places {
  readonly #db: PolicyDb;
  readonly #place: ReadonlyMap<string, number>;
  readonly #places = new Map<number, readonly number[]>();

  constructor(types: readonly string[], db: PolicyDb) {
    this.#db = db;
    this.#place = new Map(types.map((type, place) => [type, place]));
  }

  under(group: number): readonly number[] {
    const known = this.#places.get(group);
    if (known !== undefined) return known;
    const members = this.#db.expand(this.#db.nameOf(group)) ?? NONE;
    const found = members.flatMap((type) => this.#place.get(type) ?? []);
    this.#places.set(group, found);
    return found;
  }
}

const NONE: readonly never[] = [];
