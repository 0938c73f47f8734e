/**
 * Lists of denials that are expected, for CI: what is denied besides them is a finding, and so is one of
 * them that was not denied.
 *
 * @module
 */

import { posix } from "node:path";
import type { SeenDenial } from "../../audit/avc_reader.ts";
import {
  boolean,
  list,
  oneOf,
  oneOrList,
  optional,
  Place,
  type Reader,
  required,
  string,
  table,
} from "../../config/schema.ts";
import { readTomlAndLines } from "../../config/toml.ts";
import { categoriesOf, hasOtherCategories, typeOf } from "./group.ts";

/** One `[[denial]]`: each of its permissions has to be denied at least once. */
export interface Expectation {
  /** Types; `*` and `?` stand for any letters and for one, `virt_domain` for every guest's type. */
  readonly source: readonly string[];
  readonly target: readonly string[];
  readonly class: readonly string[];
  readonly permissions: readonly string[];
  /** How the target's categories stand to the source's; any way unless it is there. */
  readonly relation: Relation | undefined;
  /** Pattern of whole paths; where a record has but a name, its last part counts. */
  readonly path: string | undefined;
  /** It may be denied and need not. */
  readonly optional: boolean;
  readonly reason: string;
  /** Where its table begins; from 1. */
  readonly line: number | undefined;
}

const RELATIONS = ["same-categories", "other-categories", "no-categories"] as const;
type Relation = typeof RELATIONS[number];

/** What a log and a list do not agree about. */
export interface Differences {
  readonly unexpected: readonly SeenDenial[];
  readonly missing: readonly { readonly expectation: Expectation; readonly permission: string }[];
}

const word = string((text) => /^\S+$/.test(text) ? undefined : "is not one word");
const text = string((text) => text.trim() === "" ? "is empty" : undefined);
/** An empty list would match nothing. */
const names: Reader<readonly string[]> = (value, place) => {
  const read = oneOrList(word)(value, place);
  if (read.length === 0) throw place.error("empty (leave the entry out)");
  return read;
};

const readEntry = table<Omit<Expectation, "line">>({
  source: required(names, 'say a type: "svirt_t"'),
  target: required(names, 'say a type: "nfs_t"'),
  class: required(names, 'say "file"'),
  permissions: required(names, 'say ["open"]'),
  relation: optional<Relation | undefined>(oneOf(...RELATIONS), undefined),
  path: optional<string | undefined>(text, undefined),
  optional: optional(boolean, false),
  reason: required(text, "say why it is denied"),
});

const readExpectation: Reader<Expectation> = (value, place) => ({
  ...readEntry(value, place),
  line: place.line,
});

/** @throws `ConfigError` for a file that cannot be read or says something else. */
export function readExpectations(file: string): readonly Expectation[] {
  const hint = "Write it: svirt-agent policy explain --print-expect LOG";
  const { document, lines } = readTomlAndLines(file, hint);
  return table<{ readonly denial: readonly Expectation[] }>({
    denial: optional(list(readExpectation), []),
  })(document, new Place(file, undefined, lines)).denial;
}

/** Compares; a denial that was none, because something was permissive, is never an expected one. */
export function compare(
  denials: readonly SeenDenial[],
  expectations: readonly Expectation[],
  isGuest: (type: string) => boolean,
): Differences {
  const seen = new Set<string>();
  const key = (expectation: number, permission: string) => `${expectation} ${permission}`;
  const unexpected = denials.filter((denial) => {
    if (denial.permissive) return true;
    const fitting = [...expectations.keys()].filter((i) => fits(expectations[i]!, denial, isGuest));
    const covered = denial.denied.filter((permission) => {
      const by = fitting.filter((i) => expectations[i]!.permissions.includes(permission));
      for (const i of by) seen.add(key(i, permission));
      return by.length > 0;
    });
    return covered.length < denial.denied.length;
  });
  const missing = expectations.flatMap((expectation, i) =>
    expectation.optional ? [] : expectation.permissions
      .filter((permission) => !seen.has(key(i, permission)))
      .map((permission) => ({ expectation, permission }))
  );
  return { unexpected, missing };
}

function fits(
  { source, target, class: classes, relation, path }: Expectation,
  denial: SeenDenial,
  isGuest: (type: string) => boolean,
): boolean {
  const isOne = (patterns: readonly string[], type: string) =>
    patterns.some((it) => glob(it).test(type) || (it === "virt_domain" && isGuest(type)));
  return isOne(source, typeOf(denial.scontext)) && isOne(target, typeOf(denial.tcontext)) &&
    classes.some((it) => glob(it).test(denial.tclass)) &&
    (relation === undefined || relation === relationOf(denial)) &&
    (path === undefined || isAt(path, denial));
}

/** How the target's categories stand to the source's. */
export function relationOf({ scontext, tcontext }: SeenDenial): Relation {
  if (categoriesOf(tcontext) === "") return "no-categories";
  const isOther = hasOtherCategories({ source: scontext, target: tcontext });
  return isOther ? "other-categories" : "same-categories";
}

function isAt(pattern: string, { path, fullPath, name }: SeenDenial): boolean {
  const whole = path ?? fullPath;
  if (whole !== undefined) return glob(pattern).test(whole);
  return name !== undefined && glob(posix.basename(pattern)).test(name);
}

function glob(pattern: string): RegExp {
  const source = pattern.replaceAll(/[.+^${}()|[\]\\]/g, "\\$&")
    .replaceAll("*", ".*").replaceAll("?", ".");
  return new RegExp(`^${source}$`, "s");
}
