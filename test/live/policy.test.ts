/**
 * One policy, asked of the kernel that enforces it and of libsepol: they agree.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { PolicyAnswer, Question } from "../../agent/policy/engine.ts";
import { LiveEngine, RUNNING_POLICY } from "../../agent/policy/live_engine.ts";
import { OfflinePolicy } from "../../agent/policy/offline.ts";
import { must } from "./command.ts";

const QUESTIONS = 10_000;
const SEED = 20261121;

/** Numbers below a bound, the same in every run: a failure can be looked at again. */
function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor(state / 2 ** 32 * below);
  };
}

const LEVELS = ["s0", "s0:c1,c2", "s0:c3,c4", "s0-s0:c0.c1023", "s0:c1"];

/**
 * Random questions about every permission of a class: one in two about what some rule grants, without
 * which nearly everything would be denied.
 */
function randomQuestions({ db }: LiveEngine, count: number, seed: number): Question[] {
  const below = numbers(seed);
  const pick = <T>(of: readonly T[]): T => of[below(of.length)]!;
  const [types, classes] = [db.types(), [...db.classes.values()]];
  const random = () => ({ source: pick(types), target: pick(types), tclass: pick(classes) });
  const granted = () => {
    const rule = below(db.rules.length);
    const [source, target] = [db.rules.source[rule]!, db.rules.target[rule]!]
      .map((value) => pick(db.expand(db.nameOf(value))!));
    const tclass = classes.find(({ value }) => value === db.rules.tclass[rule])!;
    return source === undefined || target === undefined ? random() : { source, target, tclass };
  };
  return Array.from({ length: count }, (_, i) => {
    const { source, target, tclass } = i % 2 === 0 ? random() : granted();
    return {
      source: `system_u:system_r:${source}:${pick(LEVELS)}`,
      target: `system_u:object_r:${target}:${pick(LEVELS)}`,
      tclass: tclass.name,
      permissions: tclass.permissions.filter(Boolean),
    };
  });
}

/** What can be compared: the kernel does not say which constraint it was. */
function essence({ decisions, permissive }: PolicyAnswer) {
  const of = [...decisions].map(([name, { answer, audited }]) => `${name} ${answer} ${audited}`);
  return { permissive, decisions: of };
}

/** Asks both; throws at the first question on which they differ. */
function agree(live: LiveEngine, questions: readonly Question[]): void {
  using offline = OfflinePolicy.read(RUNNING_POLICY);
  const [ofKernel, ofLibsepol] = [live.ask(questions), offline.ask(questions)];
  let allowed = 0;
  for (const [i, question] of questions.entries()) {
    const asked = JSON.stringify(question);
    assert.deepEqual(essence(ofKernel[i]!), essence(ofLibsepol[i]!), asked);
    allowed += [...ofKernel[i]!.decisions.values()].filter((it) => it.answer === "allowed").length;
  }
  assert.ok(allowed > 1000, `${allowed} permissions were allowed: these questions tell little`);
}

describe("the kernel and libsepol, asked about the same policy", () => {
  it(`agree on ${QUESTIONS} random questions`, () => {
    using live = new LiveEngine();
    agree(live, randomQuestions(live, QUESTIONS, SEED));
  });

  it("agree when a boolean has another value, which the policy that the kernel shows has too", async () => {
    await must("setsebool", "virt_use_nfs", "on");
    using live = new LiveEngine();
    assert.equal(live.db.booleans.find(({ name }) => name === "virt_use_nfs")!.on, true);
    agree(live, randomQuestions(live, QUESTIONS / 5, SEED + 1));
    await must("setsebool", "virt_use_nfs", "off");
  });

  it("say the same of a boolean that is off when it is supposed to be on, and when it is on", async () => {
    const question = {
      source: "system_u:system_r:svirt_t:s0:c1,c2",
      target: "system_u:object_r:nfs_t:s0",
      tclass: "file",
      permissions: ["open", "map"],
    };
    using off = new LiveEngine();
    const [supposed] = off.ask([{ ...question, booleans: { virt_use_nfs: true } }]);
    await must("setsebool", "virt_use_nfs", "on");
    using on = new LiveEngine();
    assert.deepEqual(essence(on.ask([question])[0]!), essence(supposed!));
    await must("setsebool", "virt_use_nfs", "off");
    assert.equal(supposed!.decisions.get("open")!.answer, "allowed");
  });
});

describe("svirt-agent policy query on a host", () => {
  it("asks the kernel when no file is named", async () => {
    const guest = "system_u:system_r:svirt_t:s0:c1,c2";
    const asked = await must(
      ...["node", "dist/agent/main.js", "policy", "query", guest],
      ...["system_u:object_r:svirt_fd_image_t:s0:c1,c2", "file", "read", "open", "--json"],
    );
    const { policy, permissions } = JSON.parse(asked);
    assert.equal(policy, "the running kernel");
    assert.equal(permissions.read.answer, "allowed");
    assert.deepEqual(permissions.open, { answer: "denied", by: "te", audited: true });
  });
});
