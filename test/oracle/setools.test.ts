/**
 * What the product says of a distribution's policy beside what setools says of it, on random questions:
 * the rules behind an answer are those that sesearch shows, and the answer, constraints aside, is what
 * these rules say under the same booleans. Runs on the machine that builds the lab, with python3-setools.
 *
 * @module
 */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { before, describe, it } from "node:test";
import { join } from "node:path";
import { parseContext } from "../../agent/label/context.ts";
import { ALLOWED } from "../../agent/policy/binary/rules.ts";
import type { PolicyDb } from "../../agent/policy/binary/policydb.ts";
import type { Question } from "../../agent/policy/engine.ts";
import { OfflinePolicy } from "../../agent/policy/offline.ts";
import { RuleIndex } from "../../agent/policy/rule_index.ts";
import { baseStage } from "../lab/base.ts";
import { provideStage } from "../lab/cache.ts";
import { PROJECT } from "../lab/project.ts";
import { silent } from "../lab/progress.ts";
import { findRelease } from "../lab/release.ts";

const SEED = 20251121;
const QUESTIONS = 1200;
/** Each is a policy of its own to libsepol. */
const STATES = 6;

/** A rule as the oracle says it. */
interface OracleRule {
  readonly source: string;
  readonly target: string;
  readonly permissions: readonly string[];
  readonly holds: boolean;
}

let policy: OfflinePolicy;
let questions: readonly Question[];
let oracle: readonly (readonly OracleRule[])[];

before(async () => {
  const base = await provideStage(baseStage(findRelease("12"), silent), silent);
  const file = join(base, "rootfs/etc/selinux/default/policy/policy.33");
  policy = OfflinePolicy.read(file);
  questions = randomQuestions(policy.db);
  oracle = askSetools(file, questions);
});

describe(`${QUESTIONS} random questions (seed ${SEED}) to Debian's policy`, () => {
  it("have rules of all kinds behind them", () => {
    const rules = oracle.flat();
    assert.ok(rules.length > QUESTIONS, `${rules.length} rules`);
    assert.ok(rules.some(({ holds }) => !holds), "a rule under a boolean that is off");
    assert.ok(oracle.some((rules) => rules.length === 0), "a question that no rule is about");
  });

  it("find the rules that sesearch finds, which hold or do not", () => {
    const index = new RuleIndex(policy.db);
    for (const [i, { source, target, tclass, booleans }] of questions.entries()) {
      const values = new Map(Object.entries(booleans!));
      const ours = index.find(parseContext(source).type, parseContext(target).type, tclass)
        .filter(({ kind }) => kind === "allow")
        .map(({ source, target, permissions, condition }): OracleRule => ({
          source,
          target,
          permissions: [...permissions].sort(),
          holds: condition?.holds(values) ?? true,
        }));
      assert.deepEqual(sorted(ours), sorted(oracle[i]!), `${source} ${target} ${tclass}`);
    }
  });

  it("are answered as these rules say, constraints aside", () => {
    const answers = policy.ask(questions);
    for (const [i, { source, target, tclass, permissions }] of questions.entries()) {
      const granted = oracle[i]!.filter(({ holds }) => holds).flatMap((it) => it.permissions);
      const { decisions } = answers[i]!;
      for (const permission of permissions) {
        const { answer, by } = decisions.get(permission)!;
        const byRules = answer === "allowed" || by === "constraint";
        assert.notEqual(answer, "unknown");
        assert.equal(
          byRules,
          granted.includes(permission),
          `${source} ${target} ${tclass} ${permission}`,
        );
      }
    }
  });
});

function sorted(rules: readonly OracleRule[]): string[] {
  return rules.map((rule) => JSON.stringify(rule)).sort();
}

/** Two in three about what some rule speaks of: of two types by chance no rule says anything. */
function randomQuestions(db: PolicyDb): Question[] {
  const random = generator(SEED);
  const pick = <T>(from: readonly T[]): T => from[random(from.length)]!;
  const [types, classes] = [db.types(), [...db.classes.values()]];
  const conditional = db.booleans.map(({ name }) => name);
  const states = Array.from(
    { length: STATES },
    () => Object.fromEntries(conditional.map((name) => [name, random(2) === 1])),
  );
  const allows = Array.from({ length: db.rules.length }, (_, rule) => rule)
    .filter((rule) => db.rules.kind[rule] === ALLOWED);
  const last = allows.filter((rule) => rule >= db.firstConditionalRule);
  return Array.from({ length: QUESTIONS }, (_, i): Question => {
    const rule = pick(i % 3 === 1 ? last : allows);
    const member = (value: number) => pick(db.expand(db.nameOf(value))!);
    const isChance = i % 3 === 2;
    const tclass = isChance
      ? pick(classes)
      : classes.find(({ value }) => value === db.rules.tclass[rule])!;
    const [source, target] = isChance
      ? [pick(types), pick(types)]
      : [member(db.rules.source[rule]!), member(db.rules.target[rule]!)];
    const context = (type: string) => `system_u:object_r:${type}:s0`;
    return {
      source: context(source),
      target: context(target),
      tclass: tclass.name,
      permissions: tclass.permissions.filter(Boolean),
      booleans: states[i % STATES]!,
      brief: true,
    };
  });
}

/** Park and Miller's; answers an integer from 0 to `n - 1`. */
function generator(seed: number): (n: number) => number {
  let state = seed;
  return (n) => {
    state = state * 48271 % 0x7fffffff;
    return state % n;
  };
}

function askSetools(file: string, questions: readonly Question[]): OracleRule[][] {
  const input = questions.map(({ source, target, tclass, booleans }) =>
    JSON.stringify({
      source: parseContext(source).type,
      target: parseContext(target).type,
      class: tclass,
      booleans,
    })
  );
  const { status, stdout, stderr, error } = spawnSync(
    // Not the first python3 on PATH: Debian's own has the module.
    "/usr/bin/python3",
    [join(PROJECT, "test/oracle/rules.py"), file],
    { input: input.join("\n"), encoding: "utf8", maxBuffer: 1 << 28 },
  );
  if (error !== undefined || status !== 0) {
    throw new Error(
      "NOT COMPARED WITH SETOOLS, which has to be there (as root: apt-get install python3-setools): " +
        (error?.message ?? stderr),
    );
  }
  return stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
}
