import type { PolicyDb } from "../binary/policydb.ts";
import { guestTypes } from "../guest_types.ts";
import type { Both } from "./compare_grants.ts";
import type { WhichPolicy } from "./difference.ts";

/** A name that one of two policies has and the other has not. */
export interface LoneName {
  readonly kind:
    | "type"
    | "attribute"
    | "class"
    | "permission"
    | "boolean"
    | "guest type"
    | "permissive type";
  readonly name: string;
  readonly only: WhichPolicy;
}

/** A boolean that both have, with another value. */
export interface BooleanChange {
  readonly name: string;
  readonly before: boolean;
  readonly after: boolean;
}

const NAMES: Readonly<Record<LoneName["kind"], (db: PolicyDb) => readonly string[]>> = {
  "guest type": guestTypes,
  "permissive type": (db) => db.types().filter((it) => db.isPermissive(it)),
  type: (db) => db.types(),
  attribute: (db) => db.attributes(),
  class: (db) => [...db.classes.keys()],
  permission: (db) =>
    [...db.classes.values()].flatMap(({ name, permissions }) =>
      permissions.filter(Boolean).map((it) => `${name}:${it}`)
    ),
  boolean: (db) => db.booleans.map(({ name }) => name),
};

/** Names that one policy has alone: what is asked about them has no answer in the other. */
export function compareNames([before, after]: Both<PolicyDb>): LoneName[] {
  return (Object.keys(NAMES) as LoneName["kind"][]).flatMap((kind) => {
    const [old, now] = [before, after].map((db) => new Set(NAMES[kind](db))) as [
      Set<string>,
      Set<string>,
    ];
    const lone = (of: Set<string>, other: Set<string>, only: WhichPolicy) =>
      [...of].filter((name) => !other.has(name)).sort().map((name): LoneName => ({
        kind,
        name,
        only,
      }));
    return [...lone(old, now, "old"), ...lone(now, old, "new")];
  });
}

export function compareBooleans([before, after]: Both<PolicyDb>): BooleanChange[] {
  return before.booleans.flatMap(({ name, on }) => {
    const other = after.booleans.find((it) => it.name === name);
    return other === undefined || other.on === on ? [] : [{ name, before: on, after: other.on }];
  });
}
