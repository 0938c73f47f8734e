/** A type, attribute, class, permission or boolean, as an assertion names it. */
export interface Name {
  readonly name: string;
  /** `-name`: without it. */
  readonly excluded: boolean;
  /** `name?`: policies that do not have it are right, too. */
  readonly optional: boolean;
}

/**
 * How the categories of the two stand to each other. Where an assertion names none both are at `s0`,
 * without categories.
 *
 * - `same-categories`: a guest and what is its own
 * - `other-categories`: a guest and what is another one's
 * - `no-categories`: a guest and what is nobody's: `s0`
 */
export type Relation = "same-categories" | "other-categories" | "no-categories";

/** Booleans that an assertion speaks of, and which values they have for it. */
export interface BooleanState {
  readonly name: Name;
  readonly on: boolean;
}

/** One entry of an assertion file: what sources may and may not do with targets. */
export interface Assertion {
  readonly file: string;
  /** Where its table begins; from 1. */
  readonly line: number;
  /** Stays the same when the text changes: reports and histories go by it. */
  readonly id: string;
  readonly desc: string;
  /** Types, attributes and full contexts; `*` is every type. */
  readonly source: readonly Name[];
  /** The same; `self` is the source. */
  readonly target: readonly Name[];
  readonly relation: Relation | undefined;
  readonly classes: readonly Name[];
  /** All of these are allowed. */
  readonly allow: readonly Name[];
  /** None of these is. */
  readonly never: readonly Name[];
  /** Nothing of the class but these is; they need not be. */
  readonly only: readonly Name[] | undefined;
  /** It speaks of this state of booleans alone. */
  readonly when: readonly BooleanState[];
  /** It holds in every state of these; `all`: of all that its rules depend on. */
  readonly booleans: readonly Name[] | "all";
  /** Type or context of the process that opened what is `inheritedOnly`: `fd use` is asked of it. */
  readonly opener: Name | undefined;
  /** Of a catalogue of requirements, for auditors. */
  readonly controls: readonly string[];
  /** Why it is not asked. */
  readonly disable: string | undefined;
  /** What it means when it is broken. */
  readonly means: string | undefined;
  /** What to do about it then. */
  readonly hint: string | undefined;
}
