import { formatRule, type Rule } from "../rule_index.ts";
import { type AccessChange, type Direction, directionOf } from "./difference.ts";

/** Changes with one cause. */
export interface ChangeGroup extends Pick<AccessChange, "before" | "after" | "state"> {
  readonly direction: Direction;
  readonly sources: readonly string[];
  readonly items: readonly {
    readonly targets: readonly string[];
    readonly tclass: string;
    readonly permissions: readonly string[];
  }[];
  /** As text, with the permissions that changed; none where a constraint is the cause. */
  readonly removed: readonly string[];
  readonly added: readonly string[];
}

const ORDER: readonly Direction[] = ["looser", "mixed", "tighter", "new-type", "lost-type"];

/** Puts together what the same rules, or constraints, do to one guest type or several. */
export function groupChanges(changes: readonly AccessChange[]): ChangeGroup[] {
  const causes = Map.groupBy(
    changes,
    ({ source, before, after, state, removed, added }) =>
      JSON.stringify([source, before, after, state, removed.map(headOf), added.map(headOf)]),
  );
  const single = [...causes.values()].map((of): ChangeGroup => {
    const { source, before, after, state, removed, added } = of[0]!;
    const permissions = new Set(of.flatMap((it) => it.permissions));
    const shown = (rules: readonly Rule[]) =>
      rules.map((rule) => formatRule({ ...rule, permissions: [...permissions] }));
    const sources = [source];
    const direction = directionOf({ before, after });
    const texts = { removed: shown(removed), added: shown(added) };
    return { direction, sources, before, after, state, items: itemsOf(of), ...texts };
  });
  const alike = Map.groupBy(single, ({ sources: _, ...rest }) => JSON.stringify(rest));
  return [...alike.values()]
    .map((of) => ({ ...of[0]!, sources: of.flatMap(({ sources }) => sources) }))
    .sort((a, b) => ORDER.indexOf(a.direction) - ORDER.indexOf(b.direction));
}

function headOf({ source, target, tclass, condition }: Rule): string {
  return `${source} ${target} ${tclass} ${condition?.text}`;
}

function itemsOf(changes: readonly AccessChange[]): ChangeGroup["items"] {
  const alike = Map.groupBy(
    changes,
    ({ tclass, permissions }) => `${tclass} ${permissions.join(" ")}`,
  );
  return [...alike.values()].map((of) => ({
    targets: of.map(({ target }) => target),
    tclass: of[0]!.tclass,
    permissions: of[0]!.permissions,
  }));
}
