import type { PolicyDb } from "../binary/policydb.ts";
import type { BooleanValues } from "../binary/with_booleans.ts";
import type { Question } from "../engine.ts";
import type { Assertion } from "./assertion.ts";
import { Contexts } from "./contexts.ts";
import type { Party } from "./expand.ts";
import { type Expected, type Parts, partsOf } from "./parts.ts";
import type { Access, Reach } from "./reach.ts";
import { type PlannedState, planStates } from "./states.ts";
import type { Outcome } from "./verdict.ts";

/** One question, and what the answers should be. */
export interface Request {
  readonly question: Question;
  readonly expected: Expected;
}

/** What an assertion comes to with one policy: nothing is asked yet. */
export interface Plan {
  readonly assertion: Assertion;
  readonly states: readonly PlannedState[];
  /** Made anew each time: there may be very many. */
  requests(): Iterable<Request>;
  /** How many requests there are. */
  readonly questions: number;
  readonly pairs: number;
  readonly notes: readonly string[];
  /** Its outcome when there is nothing to ask. */
  readonly known?: { readonly outcome: Outcome; readonly reason: string };
}

/** @param fixed Values of booleans that hold for all assertions. */
export function plan(
  assertion: Assertion,
  db: PolicyDb,
  reach: Reach,
  fixed: BooleanValues,
): Plan {
  const state = Object.fromEntries(assertion.when.map(({ name, on }) => [name.name, on]));
  const nothing = {
    assertion,
    states: [{ state, asked: {} }],
    requests: () => [],
    questions: 0,
    pairs: 0,
  };
  if (assertion.disable !== undefined) {
    return { ...nothing, notes: [], known: { outcome: "disabled", reason: assertion.disable } };
  }
  const parts = partsOf(assertion, db);
  const notes = parts.leftOut.map((it) => `left out: the policy has no ${it}`);
  const known = outcomeOf(assertion, parts, db, fixed);
  if (known !== undefined) return { ...nothing, notes: [], known };
  const accesses = accessesOf(parts);
  const isAsIs =
    assertion.booleans.length + assertion.when.length + Object.keys(fixed).length === 0;
  const relevant = new Set(
    isAsIs
      ? []
      : [...accesses, ...openerAccess(parts, db)].flatMap((it) => [...reach.booleans(it)]),
  );
  const { states, independent } = planStates(parts, fixed, relevant, db);
  if (states.length === 0) {
    const reason = `its rules depend on ${relevant.size} booleans (name those of importance)`;
    return { ...nothing, notes, known: { outcome: "unknown", reason } };
  }
  const asked = pairsOf(parts, accesses, db, reach);
  const once = independent.map((name) => `asked once: no rule of it depends on ${name}`);
  return {
    assertion,
    states,
    requests: () => requestsOf(assertion, parts, asked, db),
    questions: asked.reduce((sum, { length }) => sum + length, 0) +
      (parts.opener === undefined ? 0 : parts.sources.length),
    pairs: parts.sources.length * (parts.targets?.length ?? 1) * parts.classes.length,
    notes: [...notes, ...once],
  };
}

function outcomeOf(
  { relation, when }: Assertion,
  { missing, emptied }: Parts,
  db: PolicyDb,
  fixed: BooleanValues,
): Plan["known"] {
  if (missing.length > 0) {
    return { outcome: "unknown", reason: `the policy has no ${missing.join(", no ")}` };
  }
  if (emptied !== undefined && emptied.length > 0) {
    return { outcome: "not-applicable", reason: `the policy has no ${emptied.join(", no ")}` };
  }
  if (emptied !== undefined) {
    return { outcome: "unknown", reason: "its exceptions leave nothing of what it names" };
  }
  if (relation !== undefined && !db.mls) {
    return { outcome: "unknown", reason: `"${relation}": the policy has no categories` };
  }
  const other = when.find(({ name, on }) => (fixed[name.name] ?? on) !== on);
  if (other === undefined) return undefined;
  const [is, speaks] = other.on ? ["off", "on"] : ["on", "off"];
  const reason = `it speaks of ${other.name.name}=${speaks}, which is fixed to be ${is}`;
  return { outcome: "not-applicable", reason };
}

const typesOf = (parties: readonly Party[]) => parties.map(({ type }) => type);

function accessesOf({ sources, targets, classes }: Parts): Access[] {
  const [from, to] = [typesOf(sources), typesOf(targets ?? sources)];
  return classes.map(({ tclass, expected }) => ({
    sources: from,
    targets: to,
    tclass,
    permissions: [...expected.keys()],
  }));
}

function openerAccess({ sources, opener }: Parts, db: PolicyDb): Access[] {
  const tclass = db.classes.get("fd");
  if (opener === undefined || tclass === undefined) return [];
  return [{ sources: typesOf(sources), targets: [opener.type], tclass, permissions: ["use"] }];
}

function* requestsOf(
  assertion: Assertion,
  { sources, targets, classes, opener }: Parts,
  asked: readonly Pairs[],
  db: PolicyDb,
): Iterable<Request> {
  const contexts = new Contexts(db, assertion.relation);
  for (const [i, { tclass, expected }] of classes.entries()) {
    const permissions = [...expected.keys()];
    for (const [s, t] of asked[i]!) {
      const source = contexts.source(sources[s]!);
      const target = targets === undefined ? source : contexts.target(targets[t]!, sources[s]!);
      yield { question: { source, target, tclass: tclass.name, permissions }, expected };
    }
  }
  if (opener === undefined) return;
  const target = contexts.opener(opener);
  for (const source of sources.map((it) => contexts.source(it))) {
    yield { question: { source, target, tclass: "fd", permissions: ["use"] }, expected: FD_USE };
  }
}

const FD_USE: Expected = new Map([["use", "allowed"]]);

/** Places of a source and a target. */
type Pairs = readonly (readonly [source: number, target: number])[];

/**
 * For each class all pairs; of those to which something should be denied, and which no rule reaches
 * in any state of booleans, none: there are millions where an assertion speaks of every type, and
 * they are denied.
 */
function pairsOf(
  { sources, targets, classes }: Parts,
  accesses: readonly Access[],
  db: PolicyDb,
  reach: Reach,
): Pairs[] {
  if (targets === undefined) {
    return classes.map(({ expected }) => expected.size === 0 ? [] : sources.map((_, s) => [s, s]));
  }
  const isGiven = [...sources, ...targets].some(({ context }) => context !== undefined);
  const permissive = new Set(sources.flatMap(({ type }, s) => db.isPermissive(type) ? s : []));
  return classes.map(({ expected }, i) => {
    if (expected.size === 0) return [];
    const isEvery = isGiven || [...expected.values()].includes("allowed");
    const every = everyPair(isEvery ? sources.keys() : permissive, targets.length);
    if (isEvery) return every;
    return [...every, ...reach.pairs(accesses[i]!).filter(([s]) => !permissive.has(s))];
  });
}

function everyPair(sources: Iterable<number>, targets: number): Pairs {
  return [...sources].flatMap((s) => Array.from({ length: targets }, (_, t) => [s, t] as const));
}
