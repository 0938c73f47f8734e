import { Contexts } from "../assertion/contexts.ts";
import type { BooleanValues } from "../binary/with_booleans.ts";
import type { PolicyEngine, Question } from "../engine.ts";
import { formatRule, type Rule, RuleIndex } from "../rule_index.ts";
import { compareConstraints } from "./compare_constraints.ts";
import { type Both, compareGrants, type GrantedBy, TellingStates } from "./compare_grants.ts";
import { type AccessChange, type Answers, RELATIONS } from "./difference.ts";
import { type Granted, Grants, Names } from "./grants.ts";

/** A policy and what is made of it once. */
interface Side {
  readonly engine: PolicyEngine;
  readonly index: RuleIndex;
  readonly grants: Grants;
}

/** Something that may have changed for one guest type: libsepol is asked. */
interface Suspect {
  readonly source: string;
  readonly target: string;
  readonly tclass: string;
  readonly permissions: readonly string[];
  readonly state: BooleanValues;
  /** For which the answer is the same. */
  readonly alike: readonly string[];
}

/**
 * Finds what guest types may do in one policy and not in the other, with all types and classes:
 * where rules or constraints differ both policies are asked, and elsewhere nothing has to be.
 *
 * @param sources Types that both policies have.
 * @param onProgress Told after each part of the work.
 */
export function compareGuests(
  [before, after]: Both<PolicyEngine>,
  sources: readonly string[],
  onProgress: (done: number, of: number, what: string) => void = () => {},
): AccessChange[] {
  const names = new Names(before.db, after.db);
  const sideOf = (engine: PolicyEngine): Side => {
    const index = new RuleIndex(engine.db);
    return { engine, index, grants: new Grants(engine.db, index, names) };
  };
  const sides = [sideOf(before), sideOf(after)] as const;
  const suspects = sources.flatMap((source, i) => {
    onProgress(i, sources.length, `guest types, now ${source}`);
    return suspectsOf(source, sides, names);
  });
  return verdictsOf(suspects, sides, onProgress);
}

function suspectsOf(source: string, [before, after]: Both<Side>, names: Names): Suspect[] {
  const grantedBy = ({ engine: { db }, grants }: Side): GrantedBy => ({
    db,
    granted: grants.of(source, names.types.length),
  });
  const both = [grantedBy(before), grantedBy(after)] as const;
  const cells = Map.groupBy(
    compareGrants(both, names),
    ({ target, tclass, state }) => JSON.stringify([target, tclass, state]),
  );
  const byRules = [...cells.values()].map((changes): Suspect => ({
    ...changes[0]!,
    source,
    permissions: changes.map(({ permission }) => permission),
    alike: [changes[0]!.target],
  }));
  return [...byRules, ...suspectedConstraints(source, both, names)];
}

/** Of targets that rules and constraints treat alike one is asked about. */
function suspectedConstraints(
  source: string,
  both: Both<GrantedBy>,
  { types, classes }: Names,
): Suspect[] {
  const policies = [both[0].db, both[1].db] as const;
  const common = new Set(
    types.filter((it) => policies.every((db) => db.valueOf(it) !== undefined)),
  );
  const states = new TellingStates(policies, (one, other) => one && other);
  const changes = compareConstraints(source, policies, common);
  return changes.flatMap(({ tclass, permissions, kindOf }) => {
    const found = new Map<string, Suspect & { readonly alike: string[] }>();
    const number = classes.indexOf(tclass);
    for (const [type, target] of types.entries()) {
      if (!common.has(target)) continue;
      const cell = type * classes.length + number;
      if (!both.every(({ granted }) => isGranted(granted, cell))) continue;
      const granted = Map.groupBy(
        permissions,
        (it) => JSON.stringify(states.of(both, cell, tclass, it)),
      );
      granted.delete(undefined as unknown as string); // granted by both in no state
      for (const [text, permissions] of granted) {
        const key = `${kindOf(target)} ${text} ${permissions.join(" ")}`;
        const known = found.get(key);
        if (known !== undefined) known.alike.push(target);
        else {
          const state: BooleanValues = JSON.parse(text);
          found.set(key, { source, target, tclass, permissions, state, alike: [target] });
        }
      }
    }
    return [...found.values()];
  });
}

/** Anything, in any state of booleans. */
function isGranted({ always, conditional }: Granted, cell: number): boolean {
  return always[cell] !== 0 || conditional.has(cell);
}

function verdictsOf(
  suspects: readonly Suspect[],
  sides: Both<Side>,
  onProgress: (done: number, of: number, what: string) => void,
): AccessChange[] {
  const [old, now] = sides.map((side, i) => {
    onProgress(i, 2, `policies asked, now ${side.engine.origin}`);
    return answersOf(suspects, side.engine);
  });
  return suspects.flatMap((suspect, i) => {
    const changes = suspect.permissions.flatMap((permission) => {
      const [before, after] = [old![i]!.get(permission)!, now![i]!.get(permission)!];
      if (RELATIONS.every((it) => before[it] === after[it])) return [];
      return [{ permission, before, after, ...rulesOf(suspect, permission, sides) }];
    });
    const alike = Map.groupBy(
      changes,
      ({ before, after, removed, added }) =>
        JSON.stringify([before, after, removed.map(textOf), added.map(textOf)]),
    );
    const { alike: targets, source, tclass, state } = suspect;
    return [...alike.values()].flatMap((of) => {
      const { permission: _, ...change } = of[0]!;
      const permissions = of.map(({ permission }) => permission);
      return targets.map((target): AccessChange => ({
        source,
        target,
        tclass,
        permissions,
        state,
        ...change,
      }));
    });
  });
}

/** Without its permissions. */
function textOf(rule: Rule): string {
  return formatRule({ ...rule, permissions: [] });
}

/** By suspect and permission. */
function answersOf(
  suspects: readonly Suspect[],
  engine: PolicyEngine,
): ReadonlyMap<string, Answers>[] {
  const makers = RELATIONS.map((relation) => new Contexts(engine.db, relation));
  const own = new Map(engine.db.booleans.map(({ name, on }) => [name, on]));
  const questions = suspects.flatMap(({ source, target, tclass, permissions, state }) => {
    const from = { type: source, context: undefined };
    const booleans = Object.fromEntries(
      Object.entries(state).filter(([name, on]) => own.has(name) && own.get(name) !== on),
    );
    return makers.map((contexts): Question => ({
      source: contexts.source(from),
      target: contexts.target({ type: target, context: undefined }, from),
      tclass,
      permissions,
      booleans,
      brief: true,
    }));
  });
  const answers = engine.ask(questions);
  return suspects.map(({ permissions }, i) =>
    new Map(permissions.map((permission) => [
      permission,
      Object.fromEntries(RELATIONS.map((relation, nth) => {
        const { decisions } = answers[i * RELATIONS.length + nth]!;
        return [relation, decisions.get(permission)!.answer];
      })),
    ]))
  );
}

function rulesOf(
  { source, target, tclass }: Suspect,
  permission: string,
  sides: Both<Side>,
): Pick<AccessChange, "removed" | "added"> {
  const [old, now] = sides.map(({ index }) =>
    index.find(source, target, tclass, permission).filter(({ kind }) => kind === "allow")
  ) as [Rule[], Rule[]];
  const lacks = (rules: readonly Rule[], rule: Rule) =>
    !rules.some((it) => textOf(it) === textOf(rule));
  return {
    removed: old.filter((rule) => lacks(now, rule)),
    added: now.filter((rule) => lacks(old, rule)),
  };
}
