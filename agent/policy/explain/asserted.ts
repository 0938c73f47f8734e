import type { Assertion, Name } from "../assertion/assertion.ts";
import type { PolicyDb } from "../binary/policydb.ts";
import { relationOf } from "./expect.ts";
import { type Group, typeOf } from "./group.ts";

/** What names of types stand for, with a policy at hand or without. */
export interface Types {
  readonly isGuest: (type: string) => boolean;
  readonly db: PolicyDb | undefined;
}

/**
 * Assertions that say that this is never allowed: all of it. Which booleans an assertion speaks of
 * does not matter: it was denied.
 */
export function assertedBy(
  group: Group,
  assertions: readonly Assertion[],
  types: Types,
): readonly Assertion[] {
  const [source, target] = [typeOf(group.source), typeOf(group.target)];
  const relation = relationOf(group.denials[0]!);
  const isOne = (names: readonly Name[], type: string, context: string) => {
    const fitting = names.filter((it) => means(it.name, type, context, types));
    return fitting.length > 0 && fitting.every(({ excluded }) => !excluded);
  };
  return assertions.filter((it) =>
    it.disable === undefined &&
    (it.relation === undefined || it.relation === relation) &&
    it.classes.some(({ name }) => name === group.tclass) &&
    isOne(it.source, source, group.source) &&
    (it.target.some(({ name }) => name === "self")
      ? source === target
      : isOne(it.target, target, group.target)) &&
    group.denied.every((permission) => forbids(it, permission))
  );
}

function forbids({ never, only }: Assertion, permission: string): boolean {
  const has = (names: readonly Name[]) => names.some(({ name }) => name === permission);
  return has(never) || (only !== undefined && !has(only));
}

function means(name: string, type: string, context: string, { isGuest, db }: Types): boolean {
  if (name === "*" || name === type || name === context) return true;
  if (name === "virt_domain") return isGuest(type);
  return db?.expand(name)?.includes(type) ?? false;
}
