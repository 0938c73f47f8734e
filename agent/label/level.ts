/**
 * MCS arithmetic: what keeps two guests apart is that neither one's categories include the other's.
 *
 * @module
 */

/** A sensitivity and its categories: `s0:c41,c264`. */
export interface Level {
  /** 0 in `s0`. */
  readonly sensitivity: number;
  /** Numbers of the categories: 41 of `c41`. */
  readonly categories: ReadonlySet<number>;
}

/** The level field of a context, `low-high`; one level alone is both. */
export interface Range {
  readonly low: Level;
  readonly high: Level;
}

/** Numbers of categories, both included; 0 and 1023 in every known policy with MCS. */
export interface CategoryRange {
  readonly low: number;
  readonly high: number;
}

/** More than any policy declares; keeps `c0.c4000000000` from filling memory. */
const MAX_CATEGORY = 65535;

/**
 * Reads a level or a range as the kernel prints it, without mcstrans.
 *
 * @throws `SyntaxError`, also where the kernel would call the range invalid because its high level
 * does not dominate its low one.
 */
export function parseRange(text: string): Range {
  const [low, high, ...rest] = text.split("-");
  if (low === undefined || rest.length > 0) throw syntax(text);
  const range = { low: parseLevel(low), high: parseLevel(high ?? low) };
  if (!dominates(range.high, range.low)) throw syntax(text);
  return range;
}

/** Reads one level. @throws `SyntaxError` */
export function parseLevel(text: string): Level {
  const match = /^s(\d{1,5})(?::(c\d{1,5}(?:[.,]c\d{1,5})*))?$/.exec(text);
  if (match === null) throw syntax(text);
  const categories = new Set<number>();
  for (const run of match[2]?.split(",") ?? []) {
    const [first, last = first, ...rest] = run.split(".").map((name) => Number(name.slice(1)));
    const isRun = run.includes(".");
    if (rest.length > 0 || last! > MAX_CATEGORY || (isRun ? first! >= last! : first! > last!)) {
      throw syntax(text);
    }
    for (let category = first!; category <= last!; category++) categories.add(category);
  }
  return { sensitivity: Number(match[1]), categories };
}

function syntax(text: string): SyntaxError {
  return new SyntaxError(`Cannot parse level "${text}": expected "s0:c1,c5.c7" or "LOW-HIGH"`);
}

/** Inverse of {@linkcode parseRange}, as the kernel prints it. */
export function formatRange({ low, high }: Range): string {
  const [from, to] = [formatLevel(low), formatLevel(high)];
  return from === to ? from : `${from}-${to}`;
}

/** As the kernel's mls_sid_to_context: `c0,c1`, and from three in a row `c0.c2`. */
export function formatLevel({ sensitivity, categories }: Level): string {
  const runs: [first: number, last: number][] = [];
  for (const category of [...categories].sort((a, b) => a - b)) {
    const run = runs.at(-1);
    if (run !== undefined && run[1] === category - 1) run[1] = category;
    else runs.push([category, category]);
  }
  const names = runs.map(([first, last]) =>
    first === last ? `c${first}` : `c${first}${last - first > 1 ? "." : ","}c${last}`
  );
  return names.length === 0 ? `s${sensitivity}` : `s${sensitivity}:${names.join(",")}`;
}

/** May a process at `a` use what has level `b`? The `dom` of policy constraints. */
export function dominates(a: Level, b: Level): boolean {
  return a.sensitivity >= b.sensitivity && isSubset(b.categories, a.categories);
}

/** Have the two a category in common? That alone separates nothing and joins nothing. */
export function overlaps(a: Level, b: Level): boolean {
  for (const category of a.categories) if (b.categories.has(category)) return true;
  return false;
}

function isSubset(inner: ReadonlySet<number>, outer: ReadonlySet<number>): boolean {
  if (inner.size > outer.size) return false;
  for (const category of inner) if (!outer.has(category)) return false;
  return true;
}

/** No two categories are left for another guest. */
export class CategoriesExhausted extends Error {
  override readonly name = "CategoriesExhausted";
  readonly hint = 'Stop a guest, or widen "categories" in agent.toml.';

  constructor({ low, high }: CategoryRange, inUse: number) {
    super(`No two categories of c${low}.c${high} are free: ${inUse} levels are in use`);
  }
}

/** What {@linkcode chooseLevel} may be told. */
export interface ChooseOptions {
  /**
   * Does a level in use belong to a guest or its files? The agent and administrators run with all
   * categories and share files with everybody; they must not use up the whole range.
   */
  readonly counts?: (range: Range, text: string) => boolean;
}

/** How often chance is tried before every pair is gone through. */
const TRIES = 64;

/**
 * Chooses two categories for a guest, so that its level neither dominates one in use nor is
 * dominated by one. A level without categories is everybody's and stands in nobody's way.
 *
 * @param inUse Level fields of the contexts of processes and images on this host.
 * @param random Returns an integer from 0 to `n - 1`; tests give their own.
 * @throws {@linkcode CategoriesExhausted}; `SyntaxError` for a level in use that cannot be read:
 * leaving it out would be a guess.
 */
export function chooseLevel(
  inUse: Iterable<string>,
  range: CategoryRange,
  random: (n: number) => number,
  { counts = (used) => !isWhole(used, range) }: ChooseOptions = {},
): string {
  const { low, high } = range;
  const size = high - low + 1;
  if (!Number.isInteger(low) || low < 0 || !(size >= 2) || high > MAX_CATEGORY) {
    throw new RangeError(`Cannot choose two categories of c${low}.c${high}`);
  }
  const taken = new Taken();
  for (const text of new Set(inUse)) {
    const used = parseRange(text);
    if (counts(used, text)) taken.add(used.high.categories);
  }
  for (let i = 0; i < TRIES; i++) {
    const one = low + random(size);
    const step = low + random(size - 1);
    const other = step >= one ? step + 1 : step;
    if (!taken.conflicts(one, other)) return pair(one, other);
  }
  for (let one = low; one < high; one++) {
    for (let other = one + 1; other <= high; other++) {
      if (!taken.conflicts(one, other)) return pair(one, other);
    }
  }
  throw new CategoriesExhausted(range, taken.count);
}

function pair(one: number, other: number): string {
  return formatLevel({ sensitivity: 0, categories: new Set([one, other]) });
}

/** A range with all the categories there are, of a process that is no guest: `s0-s0:c0.c1023`. */
export function isWhole({ low, high }: Range, { low: first, high: last }: CategoryRange): boolean {
  if (low.categories.size > 0) return false;
  for (let category = first; category <= last; category++) {
    if (!high.categories.has(category)) return false;
  }
  return true;
}

/** Sets of categories in use, arranged so that a pair is checked without walking all of them. */
class Taken {
  readonly #singles = new Set<number>();
  readonly #pairs = new Set<number>();
  readonly #larger: ReadonlySet<number>[] = [];
  count = 0;

  add(categories: ReadonlySet<number>): void {
    this.count++;
    const [one, other] = [...categories].sort((a, b) => a - b);
    if (one === undefined) return;
    if (categories.size > 2) this.#larger.push(categories);
    else if (other === undefined) this.#singles.add(one);
    else this.#pairs.add(Taken.#key(one, other));
  }

  conflicts(one: number, other: number): boolean {
    return this.#singles.has(one) || this.#singles.has(other) ||
      this.#pairs.has(Taken.#key(Math.min(one, other), Math.max(one, other))) ||
      this.#larger.some((set) => set.has(one) && set.has(other));
  }

  static #key(one: number, other: number): number {
    return one * (MAX_CATEGORY + 1) + other;
  }
}
