import type { SeenDenial } from "../../audit/avc_reader.ts";
import { parseContext } from "../../label/context.ts";
import { dominates, type Level, parseRange } from "../../label/level.ts";

/**
 * Denials that are the same but for the file, the process and the time; those of guests also but for
 * their categories, as long as these stand to the target's in the same way.
 */
export interface Group {
  /** Contexts of the first of them. */
  readonly source: string;
  readonly target: string;
  readonly tclass: string;
  /** In alphabetical order. */
  readonly denied: readonly string[];
  readonly permissive: boolean;
  /** What the kernel took for unlabeled_t. */
  readonly trawcon?: string;
  /** Never empty; in the order of the log. */
  readonly denials: readonly SeenDenial[];
}

/** Groups in the order in which they began. */
export function groupDenials(
  denials: readonly SeenDenial[],
  isGuest: (type: string) => boolean,
): Group[] {
  const groups = new Map<string, Omit<Group, "denials"> & { denials: SeenDenial[] }>();
  for (const denial of denials) {
    const { scontext: source, tcontext: target, tclass, permissive, trawcon } = denial;
    const denied = [...denial.denied].sort();
    const contexts = isGuest(typeOf(source)) ? alike({ source, target }) : [source, target];
    const key = JSON.stringify([contexts, tclass, denied, permissive, trawcon]);
    const group = groups.get(key);
    if (group !== undefined) {
      group.denials.push(denial);
      continue;
    }
    groups.set(key, {
      source,
      target,
      tclass,
      denied,
      permissive,
      ...(trawcon !== undefined && { trawcon }),
      denials: [denial],
    });
  }
  return [...groups.values()];
}

/** What is the same for every guest: not its own two categories, but whether the target has them. */
function alike(pair: Pick<Group, "source" | "target">): string[] {
  const isRange = [pair.source, pair.target].some((context) => levelOf(context).includes("-"));
  if (isRange) return [pair.source, pair.target];
  const relation = categoriesOf(pair.target) === ""
    ? "none"
    : hasOtherCategories(pair)
    ? "other"
    : "own";
  return [typesOf(pair.source), typesOf(pair.target), relation];
}

/** A context without its level. */
function typesOf(context: string): string {
  return context.split(":", 3).join(":");
}

/** Commands of ioctls. */
export function commandsOf({ denials }: Group): string[] {
  return distinct(denials, ({ ioctlcmd }) => ioctlcmd);
}

/** What was touched: whole paths where they are known, else names; each once. */
export function filesOf({ denials }: Group): string[] {
  return distinct(denials, ({ path, fullPath, name }) => path ?? fullPath ?? name);
}

/** What one key has in all denials, without those that lack it; each value once. */
export function distinct<T>(
  denials: readonly SeenDenial[],
  of: (denial: SeenDenial) => T | undefined,
): T[] {
  return [...new Set(denials.map(of).filter((it) => it !== undefined))];
}

/** Times of the first and the last one, as text; absent where no record has one. */
export function spanOf({ denials }: Group): { readonly first?: string; readonly last?: string } {
  const times = denials.flatMap(({ time }) => time === undefined ? [] : time);
  if (times.length > 0) {
    const [first, last] = times.reduce(
      ([low, high], time) => [Math.min(low, time), Math.max(high, time)] as const,
      [times[0]!, times[0]!] as const,
    );
    return { first: iso(first), last: iso(last) };
  }
  const clocks = distinct(denials, ({ clock }) => clock);
  return clocks.length === 0 ? {} : { first: clocks[0]!, last: clocks.at(-1)! };
}

function iso(seconds: number): string {
  return new Date(Math.round(seconds * 1000)).toISOString();
}

/** A context, read as far as it can be: a log may hold those of another policy. */
export function typeOf(context: string): string {
  return context.split(":", 3)[2] ?? context;
}

/** Has the target categories that the source lacks? MCS then keeps it away, where it constrains. */
export function hasOtherCategories({ source, target }: Pick<Group, "source" | "target">): boolean {
  const [own, other] = [lowOf(source), lowOf(target)];
  return own !== undefined && other !== undefined && !dominates(own, other);
}

/** Categories of a context's low level, as the policy writes them; empty where it has none. */
export function categoriesOf(context: string): string {
  return levelOf(context).split("-", 1)[0]!.split(":")[1] ?? "";
}

/** A level without its sensitivity where that is the only one, a range as it stands. */
export function shownLevel(context: string): string {
  return levelOf(context).includes("-") ? levelOf(context) : categoriesOf(context);
}

/** The fourth field, which may hold colons. */
function levelOf(context: string): string {
  return context.split(":").slice(3).join(":");
}

function lowOf(context: string): Level | undefined {
  try {
    const { level } = parseContext(context);
    return level === undefined ? undefined : parseRange(level).low;
  } catch {
    return undefined;
  }
}
