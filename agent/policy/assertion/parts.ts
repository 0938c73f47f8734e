import type { PolicyDb } from "../binary/policydb.ts";
import type { PolicyClass } from "../binary/symbols.ts";
import type { BooleanValues } from "../binary/with_booleans.ts";
import type { Assertion, Name } from "./assertion.ts";
import { choose, type Expanded, expandTypes, type Party } from "./expand.ts";

/** What the policy should say of each permission. */
export type Expected = ReadonlyMap<string, "allowed" | "denied">;

/** An assertion's names, as one policy has them. */
export interface Parts {
  readonly sources: readonly Party[];
  /** `undefined` for `self`. */
  readonly targets: readonly Party[] | undefined;
  readonly classes: readonly {
    readonly tclass: PolicyClass;
    readonly expected: Expected;
  }[];
  readonly opener: Party | undefined;
  readonly when: BooleanValues;
  readonly booleans: readonly string[] | "all";
  readonly missing: readonly string[];
  readonly leftOut: readonly string[];
  /** Where nothing is left to ask about: the optional names that this is for want of. */
  readonly emptied: readonly string[] | undefined;
}

/** Looks up every name of an assertion; what is not found is told, not thrown. */
export function partsOf(assertion: Assertion, db: PolicyDb): Parts {
  const isSelf = assertion.target.some(({ name }) => name === "self");
  const sources = expandTypes(assertion.source, db);
  const targets = isSelf ? NONE : expandTypes(assertion.target, db);
  const opener = assertion.opener === undefined ? NONE : expandTypes([assertion.opener], db);
  const hasBoolean = (name: string) => db.booleans.some((it) => it.name === name);
  const isAll = assertion.booleans === "all";
  const booleans = choose("boolean", isAll ? [] : assertion.booleans, hasBoolean);
  const when = choose("boolean", assertion.when.map(({ name }) => name), hasBoolean);
  const classes = choose("class", assertion.classes, (name) => db.classes.has(name));
  const wanted = classes.found.map((name) => permissionsOf(assertion, db.classes.get(name)!));
  // Where "only" names all that a class has there is nothing left to forbid, and that is right.
  const usable = wanted.filter(({ expected }) => assertion.only !== undefined || expected.size > 0);
  const all = [sources, targets, opener, booleans, when, classes, ...wanted];
  const emptied = [
    ...sources.found.length === 0 ? [sources] : [],
    ...!isSelf && targets.found.length === 0 ? [targets] : [],
    ...usable.length === 0 ? [classes, ...wanted] : [],
    ...[when, opener].filter(({ leftOut }) => leftOut.length > 0),
  ];
  return {
    sources: sources.found,
    targets: isSelf ? undefined : targets.found,
    classes: usable,
    opener: opener.found[0],
    when: Object.fromEntries(assertion.when.map(({ name, on }) => [name.name, on])),
    booleans: isAll ? "all" : booleans.found,
    missing: unique(all.flatMap(({ missing }) => missing)),
    leftOut: unique(all.flatMap(({ leftOut }) => leftOut)),
    emptied: emptied.length > 0 ? unique(emptied.flatMap(({ leftOut }) => leftOut)) : undefined,
  };
}

const NONE: Expanded<Party> = { found: [], missing: [], leftOut: [] };
const unique = (texts: readonly string[]) => [...new Set(texts)];

function permissionsOf({ allow, never, only }: Assertion, tclass: PolicyClass) {
  const pick = (names: readonly Name[]) =>
    choose("permission", names, (name) => tclass.permissions.includes(name));
  const [allowed, denied, kept] = [pick(allow), pick(never), pick(only ?? [])];
  const expected = new Map<string, "allowed" | "denied">();
  if (only !== undefined) {
    for (const it of tclass.permissions) if (!kept.found.includes(it)) expected.set(it, "denied");
  }
  for (const it of denied.found) expected.set(it, "denied");
  for (const it of allowed.found) expected.set(it, "allowed");
  const ofClass = (it: string) => `${it} of class "${tclass.name}"`;
  return {
    tclass,
    expected,
    missing: [allowed, denied, kept].flatMap(({ missing }) => missing.map(ofClass)),
    leftOut: [allowed, denied, kept].flatMap(({ leftOut }) => leftOut.map(ofClass)),
  };
}
