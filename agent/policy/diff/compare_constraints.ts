import {
  CEXPR_NAMES,
  CEXPR_ROLE,
  CEXPR_TARGET,
  CEXPR_TYPE,
  CEXPR_USER,
  type Constraint,
  type ConstraintStep,
} from "../binary/constraints.ts";
import type { PolicyDb } from "../binary/policydb.ts";

/** Where constraints of a class differ for one source. */
export interface ConstraintChange {
  readonly tclass: string;
  /** Permissions that any constraint of the class speaks of, in either policy. */
  readonly permissions: readonly string[];
  /**
   * Targets with the same text are alike to every constraint of the class: what holds for one holds
   * for all of them.
   */
  kindOf(target: string): string;
}

/**
 * Finds the classes whose constraints may answer differently for a source: those of types that only
 * one policy has make no difference. Their answers are libsepol's to compare.
 *
 * @param types Those that both policies have.
 */
export function compareConstraints(
  source: string,
  [before, after]: readonly [PolicyDb, PolicyDb],
  types: ReadonlySet<string>,
): ConstraintChange[] {
  return [...before.classes.keys()].flatMap((tclass) => {
    const sides = [before, after].map((db) => sideOf(db, tclass, source, types));
    const [one, other] = sides as [ConstraintSide, ConstraintSide];
    if (one.text === other.text) return [];
    return {
      tclass,
      permissions: [...new Set([...one.permissions, ...other.permissions])],
      kindOf: (target) => `${one.kindOf(target)} ${other.kindOf(target)}`,
    };
  });
}

interface ConstraintSide extends Omit<ConstraintChange, "tclass"> {
  /** The same for constraints that say the same. */
  readonly text: string;
}

function sideOf(
  db: PolicyDb,
  tclass: string,
  source: string,
  types: ReadonlySet<string>,
): ConstraintSide {
  const known = db.classes.get(tclass);
  const constraints = known?.constraints.all ?? [];
  const names = (bits: number) =>
    (known?.permissions ?? []).filter((_, bit) => (bits >> bit & 1) === 1);
  const value = db.valueOf(source);
  const targets = constraints.flatMap(({ expression }) => expression.filter(namesTargets))
    .map((step) => new Set(step.names));
  const step = (it: ConstraintStep) => {
    const { type, attribute, operator } = it;
    if (type !== CEXPR_NAMES) return `${type}.${attribute}.${operator}`;
    if (attribute === CEXPR_TYPE) return `source.${operator}.${it.names.includes(value!)}`;
    return `${attribute}.${operator}.${namesIn(it, db, types).sort().join(",")}`;
  };
  const text = ({ permissions, expression }: Constraint) =>
    `${names(permissions).sort().join(",")} ${expression.map(step).join(" ")}`;
  return {
    text: constraints.map(text).sort().join("\n"),
    permissions: names(constraints.reduce((all, { permissions }) => all | permissions, 0)),
    kindOf: (target) => {
      const value = db.valueOf(target) ?? -1;
      return targets.map((set) => Number(set.has(value))).join("");
    },
  };
}

function namesIn({ attribute, names }: ConstraintStep, db: PolicyDb, types: ReadonlySet<string>) {
  if ((attribute & CEXPR_USER) !== 0) return names.map((value) => db.userOf(value));
  if ((attribute & CEXPR_ROLE) !== 0) return names.map((value) => db.roleOf(value));
  return names.map((value) => db.nameOf(value)).filter((name) => types.has(name));
}

function namesTargets({ type, attribute }: ConstraintStep): boolean {
  return type === CEXPR_NAMES && attribute === (CEXPR_TYPE | CEXPR_TARGET);
}
