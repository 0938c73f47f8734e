import type { PolicyDb } from "../binary/policydb.ts";
import type { BooleanValues } from "../binary/with_booleans.ts";

/** A state of booleans that an assertion is asked in. */
export interface PlannedState {
  /** As reports show it. */
  readonly state: BooleanValues;
  /**
   * What of it makes a difference to this policy's rules: assertions that come to the same are asked
   * of one loaded policy.
   */
  readonly asked: BooleanValues;
}

/** The booleans that an assertion names. */
export interface Named {
  readonly when: BooleanValues;
  /** Each is asked both on and off; `all`: those that are relevant. */
  readonly booleans: readonly string[] | "all";
}

/** Every state of them is asked: 2 to the power of so many. */
export const MOST_BOOLEANS = 8;

/**
 * The distinct states in which an assertion has to be asked.
 *
 * @param fixed Values that hold for all assertions.
 * @param relevant Booleans that some rule of it stands under; of the others one value is as good as
 * the other.
 * @returns No state where there are too many.
 */
export function planStates(
  { when, booleans }: Named,
  fixed: BooleanValues,
  relevant: ReadonlySet<string>,
  db: PolicyDb,
): { readonly states: readonly PlannedState[]; readonly independent: readonly string[] } {
  const named = booleans === "all" ? [...relevant].sort() : booleans;
  const free = named.filter((name) =>
    relevant.has(name) && (fixed[name] ?? when[name]) === undefined
  );
  const independent = named.filter((name) => !relevant.has(name));
  if (free.length > MOST_BOOLEANS) return { states: [], independent };
  const own = new Map(db.booleans.map(({ name, on }) => [name, on]));
  const states = Array.from({ length: 2 ** free.length }, (_, number): PlannedState => {
    // Counts up with the first boolean changing slowest, each off before on.
    const isOn = (i: number) => (number >> (free.length - 1 - i) & 1) === 1;
    const varied = Object.fromEntries(free.map((name, i) => [name, isOn(i)]));
    const state = { ...fixed, ...when, ...varied };
    const asked = Object.entries(state)
      .filter(([name, on]) => relevant.has(name) && own.get(name) !== on)
      .sort(([a], [b]) => a < b ? -1 : 1);
    return { state, asked: Object.fromEntries(asked) };
  });
  return { states, independent };
}
