import { parseContext } from "../label/context.ts";
import type { BooleanValues } from "../policy/binary/with_booleans.ts";
import { inWords } from "../policy/boolean_words.ts";
import type { PolicyEngine } from "../policy/engine.ts";
import { crossGuestAccesses, type Kind, kindOf } from "../policy/matrix/judge.ts";
import type { Group, Matrix } from "../policy/matrix/matrix.ts";
import type { Parties, Party } from "../policy/matrix/party.ts";
import type { Relation } from "../policy/matrix/relation.ts";
import { formatRule, RuleIndex } from "../policy/rule_index.ts";
import { rulesBehind } from "../policy/why.ts";

/** What a matrix came to, and what was asked. */
export interface MatrixView extends Parties {
  readonly matrix: Matrix;
  readonly engine: PolicyEngine;
  readonly booleans: BooleanValues;
  readonly permissions: readonly string[];
  /** Also what is as it should be. */
  readonly all: boolean;
}

const WORDS: Readonly<Record<Kind, string>> = {
  "cross-guest": "CROSS-GUEST",
  shared: "shared",
  "opens-own": "opens its own",
  unknown: "unknown",
};
const AS_IT_SHOULD_BE = "ok";
const WHOSE: Readonly<Record<Relation, string>> = {
  own: "its own",
  other: "another guest's",
  nobody: "nobody's",
};

/** Of several guests or images, as many are named to a person. */
const NAMED = 3;

/** For a person: what is remarkable, one paragraph for what has the same cause, then the sum. */
export function describeMatrix(view: MatrixView): string[] {
  const { matrix, guests, images, permissions } = view;
  const rules = new Lazy(() => new RuleIndex(view.engine.db));
  const cross = crossGuestAccesses(matrix);
  return [
    ...shownGroups(view).flatMap((group) => describeGroup(group, view, rules)),
    ...matrix.shared.map(({ level, guests }) =>
      `CROSS-GUEST: nothing separates ${named(guests)}: all have ${level}`
    ),
    ...missingParts(matrix).map(({ missing, parties }) =>
      `unknown: the policy has no ${missing}, of ${named(parties)}`
    ),
    `${count(guests.length, "guest")} x ${count(images.length, "image")} x ` +
    `${count(permissions.length, "permission")}: ` +
    `${count(matrix.groups.length, "distinct question")}, ` +
    `${count(cross, "cross-guest access", "es")}` +
    (matrix.shared.length > 0 ? `, ${count(matrix.shared.length, "level")} of several guests` : ""),
  ];
}

/** `--json`; its schema is version 1. */
export function matrixDocument(view: MatrixView): Record<string, unknown> {
  const { matrix, engine, booleans, permissions, guests, images } = view;
  const rules = new Lazy(() => new RuleIndex(engine.db));
  return {
    schemaVersion: 1,
    policy: engine.origin,
    booleans: inWords(booleans),
    guests: guests.length,
    images: images.length,
    permissions,
    distinctQuestions: matrix.groups.length,
    crossGuestAccesses: crossGuestAccesses(matrix),
    groups: shownGroups(view).map((group) => {
      const { source, target, tclass } = group.question;
      const { guests, images } = membersOf(group);
      return {
        kind: kindOf(group) ?? AS_IT_SHOULD_BE,
        relation: group.relation,
        source,
        target,
        class: tclass,
        permissive: group.answer.permissive,
        permissions: Object.fromEntries(
          [...group.answer.decisions].map(([name, { answer }]) => [name, answer]),
        ),
        reached: group.reached,
        rules: rulesOf(group, rules.value),
        pairs: group.pairs,
        guests,
        images,
      };
    }),
    sharedLevels: matrix.shared,
    unknown: matrix.unknown.map(({ party, missing }) => ({ ...party, missing })),
  };
}

/** Made when it is first needed. */
class Lazy<T> {
  readonly #make: () => T;
  #value: T | undefined;

  constructor(make: () => T) {
    this.#make = make;
  }

  get value(): T {
    return this.#value ??= this.#make();
  }
}

/** The worst first. */
function shownGroups({ matrix, all }: MatrixView): Group[] {
  const order = [...Object.keys(WORDS), undefined];
  return matrix.groups
    .filter((group) => all || kindOf(group) !== undefined)
    .sort((a, b) => order.indexOf(kindOf(a)) - order.indexOf(kindOf(b)) || b.pairs - a.pairs);
}

function describeGroup(group: Group, { engine }: MatrixView, rules: Lazy<RuleIndex>): string[] {
  const { question: { source, target, tclass }, relation, reached, answer, pairs } = group;
  const kind = kindOf(group);
  const [from, to] = [parseContext(source).type, parseContext(target).type];
  const lacks = [...answer.decisions.values()].flatMap(({ missing }) => missing ?? []);
  const what = kind === "unknown"
    ? `the policy has no ${[...new Set(lacks)].join(", ")}`
    : reached.join(" ") || "nothing";
  const { guests, images } = membersOf(group);
  return [
    `${kind === undefined ? AS_IT_SHOULD_BE : WORDS[kind]}: ` +
    `${from} on ${WHOSE[relation]} ${to}:${tclass}: ${what}`,
    `    ${count(pairs, "pair")}: ${named(guests)} on ${named(images)}`,
    ...answer.permissive && engine.db.isPermissive(from)
      ? [`    ${from} is permissive: nothing is denied to it`]
      : [],
    ...rulesOf(group, rules.value).map((rule) => `    ${rule}`),
  ];
}

/** Not each of these guests with each of these images: `relation` says whose images are meant. */
function membersOf(group: Group): { guests: Party[]; images: Party[] } {
  const [guests, images] = [new Set<Party>(), new Set<Party>()];
  for (const [guest, image] of group.each()) {
    guests.add(guest);
    images.add(image);
  }
  const shown = ({ context, name }: Party) => ({ context, name });
  return { guests: [...guests].map(shown), images: [...images].map(shown) };
}

function rulesOf({ question, reached }: Group, index: RuleIndex): string[] {
  const rules = reached.flatMap((permission) => rulesBehind(question, permission, index));
  return [...new Set(rules.map(formatRule))];
}

function missingParts({ unknown }: Matrix) {
  const parts = new Map<string, Party[]>();
  for (const { party, missing } of unknown) {
    const parties = parts.get(missing);
    if (parties === undefined) parts.set(missing, [party]);
    else parties.push(party);
  }
  return [...parts].map(([missing, parties]) => ({ missing, parties }));
}

function named(parties: readonly Party[]): string {
  const names = parties.slice(0, NAMED).map(({ name, context }) =>
    name === undefined ? context : `${name} (${parseContext(context).level ?? context})`
  );
  const more = parties.length - names.length;
  return names.join(", ") + (more > 0 ? ` and ${more.toLocaleString("en")} more` : "");
}

function count(n: number, one: string, ending = "s"): string {
  return `${n.toLocaleString("en")} ${one}${n === 1 ? "" : ending}`;
}
