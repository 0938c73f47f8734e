import { parseContext } from "../label/context.ts";
import { inWords, wordOf } from "../policy/boolean_words.ts";
import { failedParts } from "../policy/constraint.ts";
import type { PolicyEngine, Question } from "../policy/engine.ts";
import { formatRule, RuleIndex } from "../policy/rule_index.ts";
import { type Why, why } from "../policy/why.ts";
import { type Arguments, EXIT, UsageError } from "./command.ts";
import { booleansOf, openPolicy } from "./open_policy.ts";
import type { Terminal } from "./terminal.ts";

/** Says of each permission whether a policy allows it, and why not. */
export function run({ operands, options }: Arguments, terminal: Terminal): Promise<number> {
  const [source, target, tclass, ...permissions] = operands as [string, string, string];
  for (const context of [source, target]) requireContext(context);
  using engine = openPolicy(options["policy"]);
  const question: Question = {
    source,
    target,
    tclass,
    permissions: permissions.length > 0
      ? [...new Set(permissions)]
      : engine.db.classes.get(tclass)?.permissions.filter(Boolean) ?? ["*"],
    booleans: booleansOf(options["boolean"], engine),
  };
  const answers = why(question, engine, new RuleIndex(engine.db));
  if (options["json"] === true) {
    terminal.out(JSON.stringify(document(question, answers, engine), null, 2));
  } else {
    for (const [permission, answer] of answers) {
      for (const line of describe(permission, answer)) terminal.out(line);
    }
    if (engine.db.isPermissive(parseContext(source).type)) {
      terminal.out(`note: ${parseContext(source).type} is permissive: nothing is denied to it`);
    }
  }
  const unknown = [...answers.values()].some(({ answer }) => answer === "unknown");
  return Promise.resolve(unknown ? EXIT.unknown : EXIT.asExpected);
}

function requireContext(text: string): void {
  try {
    parseContext(text);
  } catch (error) {
    throw new UsageError((error as Error).message, "system_u:system_r:svirt_t:s0:c1,c2");
  }
}

/** For a person: the answer, and below it what says so. */
function describe(permission: string, why: Why): string[] {
  const { answer, by, audited, constraint, missing, booleans, rules, conditional } = why;
  if (answer === "unknown") return [`${permission}: unknown`, `    the policy has no ${missing}`];
  if (answer === "allowed") {
    return [`${permission}: allowed`, ...rules.map((rule) => `    ${formatRule(rule)}`)];
  }
  const silent = audited ? [] : ["    a dontaudit rule hides it: no AVC will show"];
  if (by === "constraint") {
    const parts = failedParts(constraint ?? "").map((part) => `    ${part}`);
    return [`${permission}: denied by a constraint`, ...parts, `    ${constraint}`, ...silent];
  }
  const switches = booleans.map(({ name, value, then }) =>
    `    ${name}=${wordOf(value)} would allow it` +
    (then.answer === "allowed" ? "" : ", if no constraint denied it")
  );
  const several = conditional.length === 0 ? [] : [
    "    with several booleans switched one would:",
    ...conditional.map((rule) => `    ${formatRule(rule)}`),
  ];
  return [`${permission}: denied, no rule allows it`, ...switches, ...several, ...silent];
}

/** `--json`; its schema is version 1. */
function document(
  { source, target, tclass, booleans = {} }: Question,
  answers: ReadonlyMap<string, Why>,
  engine: PolicyEngine,
) {
  const permissions = [...answers].map(([permission, answer]) => [permission, inJson(answer)]);
  return {
    schemaVersion: 1,
    policy: engine.origin,
    source,
    target,
    class: tclass,
    booleans: inWords(booleans),
    permissive: engine.db.isPermissive(parseContext(source).type),
    permissions: Object.fromEntries(permissions),
  };
}

function inJson(why: Why) {
  const { answer, by, audited, constraint, missing, booleans, rules, conditional } = why;
  return {
    answer,
    by,
    ...booleans.length > 0 &&
      { boolean: booleans.map(({ name, value }) => `${name}=${wordOf(value)}`) },
    ...constraint !== undefined && { constraint },
    ...missing !== undefined && { missing },
    ...rules.length > 0 && { rules: rules.map(formatRule) },
    ...conditional.length > 0 && { conditional: conditional.map(formatRule) },
    audited,
  };
}
