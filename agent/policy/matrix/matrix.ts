import type { BooleanValues } from "../binary/with_booleans.ts";
import type { PolicyAnswer, PolicyEngine, Question } from "../engine.ts";
import type { ImageParty, Parties, Party } from "./party.ts";
import {
  CONSTRAINT_KEYS,
  constraintKey,
  type Relation,
  relationOf,
  type Subject,
  subjectOf,
} from "./relation.ts";

/** Pairs of guests and images that no rule and no constraint can tell apart. */
export interface Group {
  /** One of the pairs, asked for all of them. */
  readonly question: Question;
  readonly relation: Relation;
  readonly answer: PolicyAnswer;
  /** What guests get: all that is asked for, where nothing is denied to their domain. */
  readonly reached: readonly string[];
  /** How many, each guest with each image. */
  readonly pairs: number;
  each(): Iterable<readonly [guest: Party, image: ImageParty]>;
}

/** What every guest may do with every image. */
export interface Matrix {
  readonly groups: readonly Group[];
  /** Contexts that the policy does not have; nobody knows what holds for them. */
  readonly unknown: readonly { readonly party: Party; readonly missing: string }[];
  /** Levels that several guests have: nothing separates these from each other. */
  readonly shared: readonly { readonly level: string; readonly guests: readonly Party[] }[];
}

/**
 * Asks a policy about guests and images. Each question is asked once: what differs only in which
 * categories two contexts have, and not in how these stand to each other, has the same answer.
 *
 * @param onProgress Told how many guests' contexts have been compared with all images'.
 * @throws `SyntaxError` for a context that cannot be read.
 */
export function makeMatrix(
  { guests, images }: Parties,
  permissions: readonly string[],
  engine: PolicyEngine,
  booleans: BooleanValues = {},
  onProgress: (done: number, of: number) => void = () => {},
): Matrix {
  const missing = missingOf([...guests, ...images], engine);
  const known = <T extends Party>(them: readonly T[]) =>
    them.filter((it) => !missing.has(it.context));
  const sources = new Axis(known(guests), () => "");
  const targets = new Axis(known(images), ({ tclass }) => tclass);
  const groups = new Map<
    number,
    { pairs: number; readonly first: readonly [Cell<Party>, Cell<ImageParty>] }
  >();
  for (const [i, source] of sources.cells.entries()) {
    onProgress(i, sources.cells.length);
    for (const target of targets.cells) {
      const key = keyOf(source, target, targets);
      const pairs = source.members.length * target.members.length;
      const group = groups.get(key);
      if (group === undefined) groups.set(key, { pairs, first: [source, target] });
      else group.pairs += pairs;
    }
  }
  const questions = [...groups.values()].map(({ first: [source, target] }): Question => ({
    source: source.members[0]!.context,
    target: target.members[0]!.context,
    tclass: target.members[0]!.tclass,
    permissions,
    booleans,
  }));
  const answers = engine.ask(questions);
  return {
    unknown: [...guests, ...images].flatMap((party) => {
      const what = missing.get(party.context);
      return what === undefined ? [] : [{ party, missing: what }];
    }),
    shared: sharedLevels(sources),
    groups: [...groups].map(([key, { pairs, first: [source, target] }], i): Group => ({
      question: questions[i]!,
      answer: answers[i]!,
      relation: relationOf(source.subject, target.subject),
      reached: reachedBy(answers[i]!),
      pairs,
      each: () => pairsOf(key, sources, targets),
    })),
  };
}

/** Those who have the same context, and for images the same class. */
interface Cell<T> {
  readonly subject: Subject;
  /** Number of its shape on this axis. */
  readonly shape: number;
  readonly members: T[];
}

/** Guests or images, put together by context. */
class Axis<T extends Party> {
  readonly cells: readonly Cell<T>[];
  readonly shapes: number;

  constructor(parties: readonly T[], kind: (party: T) => string) {
    const cells = new Map<string, Cell<T>>();
    const shapes = new Map<string, number>();
    for (const party of parties) {
      const key = `${party.context} ${kind(party)}`;
      const cell = cells.get(key);
      if (cell !== undefined) {
        cell.members.push(party);
        continue;
      }
      const subject = subjectOf(party.context);
      const name = `${subject.shape} ${kind(party)}`;
      const shape = shapes.get(name) ?? shapes.size;
      shapes.set(name, shape);
      cells.set(key, { subject, shape, members: [party] });
    }
    this.cells = [...cells.values()];
    this.shapes = shapes.size;
  }
}

function keyOf(
  source: Cell<Party>,
  target: Cell<ImageParty>,
  { shapes }: Axis<ImageParty>,
): number {
  return (source.shape * shapes + target.shape) * CONSTRAINT_KEYS +
    constraintKey(source.subject, target.subject);
}

function* pairsOf(
  key: number,
  sources: Axis<Party>,
  targets: Axis<ImageParty>,
): Generator<readonly [Party, ImageParty]> {
  for (const source of sources.cells) {
    for (const target of targets.cells) {
      if (keyOf(source, target, targets) !== key) continue;
      for (const guest of source.members) {
        for (const image of target.members) yield [guest, image];
      }
    }
  }
}

function reachedBy({ decisions, permissive }: PolicyAnswer): string[] {
  return [...decisions].flatMap(([permission, { answer }]) =>
    answer === "allowed" || answer === "denied" && permissive ? [permission] : []
  );
}

function missingOf(parties: readonly Party[], engine: PolicyEngine): ReadonlyMap<string, string> {
  const contexts = [...new Set(parties.map(({ context }) => context))];
  const lacks = engine.lacks(contexts);
  return new Map(contexts.flatMap((it, i) => lacks[i] === undefined ? [] : [[it, lacks[i]]]));
}

/** Whoever has no categories is nobody's guest, and shares with nobody. */
function sharedLevels({ cells }: Axis<Party>): Matrix["shared"] {
  const byLevel = new Map<string, Party[]>();
  for (const { subject: { level, range }, members } of cells) {
    if (range === undefined || range.high.categories.size === 0) continue;
    const same = byLevel.get(level);
    if (same === undefined) byLevel.set(level, [...members]);
    else same.push(...members);
  }
  return [...byLevel].flatMap(([level, guests]) => guests.length > 1 ? [{ level, guests }] : []);
}
