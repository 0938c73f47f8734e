import {
  boolean,
  type Key,
  list,
  oneOf,
  oneOrList,
  optional,
  Place,
  type Reader,
  record,
  required,
  string,
  table,
} from "../../config/schema.ts";
import { readTomlAndLines } from "../../config/toml.ts";
import { parseContext } from "../../label/context.ts";
import { parseRange } from "../../label/level.ts";
import { MOST_BOOLEANS } from "./states.ts";
import type { Assertion, BooleanState, Name, Relation } from "./assertion.ts";

/** What may be handed over and used, where a file does not say more. */
const INHERITED = ["read", "write"];
/** Who opens images for guests. */
const AGENT = "svirt_agent_t";

/**
 * Reads files of assertions.
 *
 * @throws `ConfigError` with file, line and key; also for an id that is used twice.
 */
export function readAssertions(files: readonly string[]): Assertion[] {
  const places = new Map<string, string>();
  return files.flatMap((file) => {
    const { document, lines } = readTomlAndLines(file);
    const place = new Place(file, undefined, lines);
    const { assertion } = FILE(document, place);
    return assertion.map((it, i) => {
      const at = place.at("assertion").index(i);
      const id = at.at("id");
      const first = places.get(it.id);
      if (first !== undefined) throw id.error(`"${it.id}" is the id of another, at ${first}`);
      places.set(it.id, [file, id.line].join(":"));
      return assertionOf(it, at);
    });
  });
}

/** `-name?`; what a policy calls its types and the like. */
const IDENTIFIER = /^[A-Za-z_][\w.-]*\??$/;

function name(what: string, accept: (text: string) => boolean): Reader<Name> {
  const read = string((text) => accept(text) ? undefined : `is no ${what}`);
  return (value, place) => {
    const text = read(value, place);
    const excluded = text.startsWith("-");
    const isOptional = text.endsWith("?");
    const bare = text.slice(Number(excluded), isOptional ? -1 : undefined);
    return { name: bare, excluded, optional: isOptional };
  };
}

const isIdentifier = (text: string) => IDENTIFIER.test(text);
const isTypes = (text: string) => IDENTIFIER.test(text.replace(/^-/, "")) || text === "*";

function isContext(text: string): boolean {
  if (text.startsWith("-")) return false;
  try {
    const { level } = parseContext(text.replace(/\?$/, ""));
    if (level !== undefined) parseRange(level);
    return true;
  } catch {
    return false;
  }
}

const types = name(
  'type, attribute, full context, or "*" for every type',
  (text) => text.includes(":") ? isContext(text) : isTypes(text),
);
const openers = name("type or full context", (text) => isIdentifier(text) || isContext(text));
const permissions = list(name("permission", isIdentifier));
const booleanName = name("boolean", isIdentifier);
const sentence = string((text) => text.trim() === "" ? "says nothing" : undefined);

/** A list that names at least one. */
function some<T>(read: Reader<readonly T[]>): Reader<readonly T[]> {
  return (value, place) => {
    const all = read(value, place);
    if (all.length === 0) throw place.error("empty (name at least one)");
    return all;
  };
}

const booleans: Reader<readonly Name[] | "all"> = (value, place) => {
  if (typeof value === "string") return oneOf("all")(value, place);
  const names = list(booleanName)(value, place);
  if (names.length > MOST_BOOLEANS) {
    throw place.error(`more than ${MOST_BOOLEANS} (every state of them is asked)`);
  }
  return names;
};

const when: Reader<readonly BooleanState[]> = (value, place) =>
  [...record(oneOf("on", "off"))(value, place)].map(([key, word]) => ({
    name: booleanName(key, place.at(key)),
    on: word === "on",
  }));

const RELATIONS = ["same-categories", "other-categories", "no-categories"] as const;

const entry = table({
  id: required(string((text) => /^[A-Za-z0-9][\w.-]*$/.test(text) ? undefined : "is no id")),
  desc: required(sentence),
  source: required(some(oneOrList(types))),
  target: required(some(oneOrList(types))),
  relation: optional<Relation | undefined>(oneOf(...RELATIONS), undefined),
  class: required(some(oneOrList(name("class", isIdentifier)))),
  allow: absent(some(permissions)),
  never: absent(some(permissions)),
  only: absent(permissions),
  when: optional(when, []),
  booleans: optional<readonly Name[] | "all">(booleans, []),
  inherited_only: optional(boolean, false),
  opener: absent(openers),
  controls: optional<readonly string[]>(list(sentence), []),
  disable: absent(sentence),
  means: absent(sentence),
  hint: absent(sentence),
});

const FILE = table({ assertion: required(some(list(entry)), "say [[assertion]]") });

function absent<T>(read: Reader<T>): Key<T | undefined> {
  return optional<T | undefined>(read, undefined);
}

type Entry = ReturnType<typeof entry>;

function assertionOf(it: Entry, place: Place): Assertion {
  check(it, place);
  const named = (names: readonly string[]) =>
    names.map((name): Name => ({ name, excluded: false, optional: false }));
  const inherited = it.inherited_only;
  const { inherited_only: _, class: classes, allow, never = [], opener, ...rest } = it;
  return {
    ...rest,
    file: place.file,
    line: place.line ?? 1,
    classes,
    allow: allow ?? (inherited ? named(INHERITED) : []),
    never: inherited && !never.some(({ name }) => name === "open")
      ? [...never, ...named(["open"])]
      : never,
    opener: inherited ? opener ?? { name: AGENT, excluded: false, optional: false } : undefined,
  };
}

/** What one key alone does not show. */
function check(it: Entry, place: Place): void {
  const { allow = [], never = [], only, relation } = it;
  if (!it.inherited_only && only === undefined && allow.length + never.length === 0) {
    throw place.error("it asserts nothing (say allow, never, only or inherited_only)");
  }
  if (!it.inherited_only && it.opener !== undefined) {
    throw place.at("opener").error("goes with inherited_only = true");
  }
  const forbids = (name: string) =>
    never.some((it) => it.name === name) || it.inherited_only && name === "open" ||
    only !== undefined && !only.some((it) => it.name === name);
  for (const [i, { name }] of allow.entries()) {
    if (forbids(name)) {
      throw place.at("allow").index(i).error(`"${name}" is allowed here and forbidden beside it`);
    }
  }
  for (const key of ["source", "target"] as const) checkTypes(it, key, place.at(key));
  const names = new Set(it.when.map(({ name }) => name.name));
  for (const [i, { name }] of it.booleans === "all" ? [] : it.booleans.entries()) {
    const at = place.at("booleans").index(i);
    if (names.has(name)) throw at.error(`"${name}" is named before`);
    names.add(name);
  }
  const isSelf = it.target.some(({ name }) => name === SELF);
  if (isSelf && relation === "other-categories") {
    throw place.at("relation").error('"self" has the same categories');
  }
}

/** The target is the source. */
const SELF = "self";

function checkTypes(it: Entry, key: "source" | "target", place: Place): void {
  const names = it[key];
  for (const [i, { name, excluded }] of names.entries()) {
    const at = place.index(i);
    if (name === SELF && key === "source") throw at.error('"self" is a target');
    if (name === SELF && (names.length > 1 || excluded)) throw at.error('"self" stands alone');
    if (!name.includes(":")) continue;
    if (it.relation !== undefined) {
      throw place.error("a full context has its level (leave out relation)");
    }
  }
  if (names.every(({ excluded }) => excluded)) {
    throw place.error('only exceptions (say of what: "*" is every type)');
  }
}
