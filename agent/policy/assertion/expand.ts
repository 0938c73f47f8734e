import { parseContext } from "../../label/context.ts";
import type { PolicyDb } from "../binary/policydb.ts";
import type { Name } from "./assertion.ts";

/** A type, or a context that was given in full. */
export interface Party {
  readonly type: string;
  readonly context: string | undefined;
}

/** What names stand for in one policy. */
export interface Expanded<T> {
  readonly found: readonly T[];
  /** Names that the policy has to have and does not, as subjects of a sentence. */
  readonly missing: readonly string[];
  /** Optional ones that it does not have. */
  readonly leftOut: readonly string[];
}

/** Every type that is meant, each once, in the policy's order. */
export function expandTypes(names: readonly Name[], db: PolicyDb): Expanded<Party> {
  const [missing, leftOut]: [string[], string[]] = [[], []];
  const contexts: Party[] = [];
  const [included, excluded] = [new Set<string>(), new Set<string>()];
  for (const it of names) {
    // Without what the policy does not have it is all the same.
    if (it.excluded && it.optional && db.expand(it.name) === undefined) continue;
    const context = it.name.includes(":") ? it.name : undefined;
    const type = context === undefined ? it.name : parseContext(context).type;
    const types = type === EVERY ? db.types() : db.expand(type);
    if (types === undefined) (it.optional ? leftOut : missing).push(`type "${type}"`);
    else if (context !== undefined) contexts.push({ type, context });
    else if (types.length === 0) {
      (it.optional ? leftOut : missing).push(`any type with attribute "${type}"`);
    } else for (const type of types) (it.excluded ? excluded : included).add(type);
  }
  const types = [...included].filter((type) => !excluded.has(type));
  const parties = types.map((type): Party => ({ type, context: undefined }));
  return { found: [...parties, ...contexts], missing, leftOut };
}

const EVERY = "*";

/** Names that are not sets of others: classes, permissions, booleans. */
export function choose(
  what: string,
  names: readonly Name[],
  has: (name: string) => boolean,
): Expanded<string> {
  const absent = names.filter(({ name }) => !has(name));
  return {
    found: names.filter(({ name }) => has(name)).map(({ name }) => name),
    missing: absent.filter((it) => !it.optional).map(({ name }) => `${what} "${name}"`),
    leftOut: absent.filter((it) => it.optional).map(({ name }) => `${what} "${name}"`),
  };
}
