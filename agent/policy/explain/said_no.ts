import type { PolicyChange } from "../../audit/avc_reader.ts";
import type { Answer } from "../../verify/verdict.ts";
import type { BooleanValues } from "../binary/with_booleans.ts";
import { wordOf } from "../boolean_words.ts";
import { failedParts } from "../constraint.ts";
import type { PolicyEngine } from "../engine.ts";
import { RuleIndex } from "../rule_index.ts";
import { type Why, whyAll } from "../why.ts";
import { commandsOf, type Group, hasOtherCategories, typeOf } from "./group.ts";

/**
 * What said no, by the policy that is asked now.
 *
 * - `rule`: no allow rule; `boolean`: none while a boolean is as it is; `constraint`
 * - `ioctl`: ioctl is allowed, this command of it is not
 * - `nobody`: the source or the machine was permissive
 * - `allowed`: this policy allows it, so that it was another one, or another boolean
 * - `unknown`: there is no policy to ask, or it lacks a name
 */
export type SaidNo =
  | "rule"
  | "boolean"
  | "constraint"
  | "ioctl"
  | "nobody"
  | "allowed"
  | "unknown";

/** The second line. */
export interface Refusal {
  readonly by: SaidNo;
  /** Of the policy that was asked: `denied` if any of the permissions is. */
  readonly answer: Answer;
  readonly text: string;
  /** Each alone would let it be allowed; a constraint may still deny it. */
  readonly booleans: readonly string[];
  readonly constraint?: string;
  /** Does a dontaudit rule hide it by now? */
  readonly audited: boolean;
  /** What the policy lacks. */
  readonly missing?: string;
}

/** Answers for groups of denials, in their order. */
export type AskWhy = (groups: readonly Group[]) => readonly Refusal[];

const NO_POLICY: Omit<Refusal, "text"> = {
  by: "unknown",
  answer: "unknown",
  booleans: [],
  audited: true,
};

/** For where there is no policy to ask. */
export const askNobody: AskWhy = (groups) =>
  groups.map((group) => {
    if (group.permissive) return permitted(group, "unknown");
    const guess = hasOtherCategories(group)
      ? "; its categories are not among the source's, so a constraint may have been enough"
      : "";
    return { ...NO_POLICY, text: `not known without a policy (--policy FILE)${guess}` };
  });

/**
 * Asks a policy with the booleans as the log says that they were.
 *
 * @param changes Of booleans and the policy, as they stand in the log; in the order of time.
 */
export function asker(engine: PolicyEngine, changes: readonly PolicyChange[]): AskWhy {
  let made: RuleIndex | undefined;
  return (groups) => {
    if (groups.length === 0) return [];
    const index = made ??= new RuleIndex(engine.db);
    const asked = groups.filter(({ source, target }) => isContext(source) && isContext(target));
    const questions = asked.map((group) => ({
      source: group.source,
      target: group.target,
      tclass: group.tclass,
      permissions: group.denied,
      booleans: booleansThen(group, index, engine, changes),
    }));
    const answers = new Map(
      whyAll(questions, engine, index).map((answer, i) => [asked[i]!, [...answer]]),
    );
    return groups.map((group) => {
      const answer = answers.get(group);
      const refusal = answer === undefined
        ? { ...NO_POLICY, text: "not known: a context of it is none" }
        : refusalOf(group, answer, engine, changes);
      return group.permissive ? permitted(group, refusal.answer) : refusal;
    });
  };
}

function isContext(text: string): boolean {
  return /^[^:\s]+(?::[^:\s]+){2}(?::\S+)?$/.test(text);
}

/** Booleans that rules about these types depend on, as they were when it was denied last. */
function booleansThen(
  { source, target, tclass, denials }: Group,
  index: RuleIndex,
  { db }: PolicyEngine,
  changes: readonly PolicyChange[],
): BooleanValues {
  const time = denials.findLast((it) => it.time !== undefined)?.time;
  if (time === undefined || changes.length === 0) return {};
  const rules = index.find(typeOf(source), typeOf(target), tclass);
  const names = new Set(rules.flatMap(({ condition }) => condition?.booleans ?? []));
  const values: Record<string, boolean> = {};
  for (const name of names) {
    const own = changes.filter((it) => it.boolean?.name === name);
    const before = own.findLast((it) => it.time <= time)?.boolean?.to;
    const value = before ?? own.find((it) => it.time > time)?.boolean?.from;
    const now = db.booleans.find((it) => it.name === name)?.on;
    if (value !== undefined && now !== undefined && value !== now) values[name] = value;
  }
  return values;
}

function refusalOf(
  group: Group,
  answers: readonly (readonly [permission: string, why: Why])[],
  engine: PolicyEngine,
  changes: readonly PolicyChange[],
): Refusal {
  const denied = answers.filter(([, { answer }]) => answer === "denied");
  const unknown = answers.find(([, { answer }]) => answer === "unknown")?.[1];
  if (denied.length > 0) return denial(denied, group);
  if (unknown !== undefined) {
    const missing = unknown.missing ?? "all of it";
    const raw = group.trawcon === undefined ? "" : ` (the label is ${group.trawcon})`;
    const text = `not known: ${engine.origin} has no ${missing}${raw}`;
    return { ...NO_POLICY, text, missing };
  }
  const commands = commandsOf(group);
  if (group.denied.includes("ioctl") && commands.length > 0) {
    const text = `ioctl is allowed, but not ${commands.join(", ")}: allowxperm rules list the ` +
      "commands that are";
    return { by: "ioctl", answer: "denied", text, booleans: [], audited: true };
  }
  const then = since(group, changes);
  const text =
    `nothing now: ${engine.origin} allows it, so it was another policy or boolean${then}`;
  return { by: "allowed", answer: "allowed", text, booleans: [], audited: true };
}

function denial(
  denied: readonly (readonly [permission: string, why: Why])[],
  group: Group,
): Refusal {
  const [, first] = denied[0]!;
  const audited = denied.some(([, why]) => why.audited);
  const silent = audited ? "" : "; by now a dontaudit rule keeps it out of the log";
  const constrained = denied.find(([, { by }]) => by === "constraint")?.[1];
  const booleans = [
    ...new Set(
      denied.flatMap(([, why]) =>
        why.booleans.map(({ name, value }) => `${name}=${wordOf(value)}`)
      ),
    ),
  ];
  if (constrained !== undefined && denied.every(([, { by }]) => by === "constraint")) {
    const { constraint } = constrained;
    const said = inWords(constraint, group);
    const text = `a constraint, whatever rules allow: ${said}${silent}`;
    return {
      by: "constraint",
      answer: "denied",
      text,
      booleans,
      audited,
      ...(constraint !== undefined && { constraint }),
    };
  }
  const permissions = denied.map(([permission]) => permission).join(" and ");
  if (booleans.length === 0) {
    const conditions = new Set(
      denied.flatMap(([, { conditional }]) => conditional.map((it) => it.condition?.text)),
    );
    const where = denied.every(([, { conditional }]) => conditional.length > 0)
      ? ` as booleans are; where ${[...conditions].join(" or ")}, one does`
      : ", in any state of the booleans";
    const text = `no rule allows ${permissions}${where}${silent}`;
    return { by: "rule", answer: "denied", text, booleans, audited };
  }
  const held = first.booleans.every(({ then }) => then.answer !== "allowed");
  const text = `no rule allows ${permissions} as booleans are; ${either(booleans)} would` +
    (held ? ", if no constraint denied it" : "") + silent;
  return { by: "boolean", answer: "denied", text, booleans, audited };
}

/** The kernel itself does not say which constraint it was. */
function inWords(constraint: string | undefined, group: Group): string {
  const parts = failedParts(constraint ?? "");
  if (parts.length > 0) return parts.join(", and ");
  if (constraint !== undefined) return constraint;
  return hasOtherCategories(group)
    ? "its categories are not among the source's"
    : "the kernel does not say which";
}

function permitted({ source }: Group, answer: Answer): Refusal {
  const text = `nobody: ${typeOf(source)}, or the whole machine, was permissive: it went through`;
  return { by: "nobody", answer, text, booleans: [], audited: true };
}

/** What the log says has changed since. */
function since({ denials }: Group, changes: readonly PolicyChange[]): string {
  const time = denials.findLast((it) => it.time !== undefined)?.time;
  if (time === undefined) return "";
  const later = changes.filter((it) => it.time > time).slice(0, 3).map(({ boolean }) =>
    boolean === undefined ? "a policy was loaded" : `${boolean.name} went ${wordOf(boolean.to)}`
  );
  return later.length === 0 ? "" : `; since then ${later.join(", ")}`;
}

function either(names: readonly string[]): string {
  return names.length === 1 ? names[0]! : `${names.slice(0, -1).join(", ")} or ${names.at(-1)}`;
}
