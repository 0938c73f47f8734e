import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { PolicyAnswer, PolicyEngine, Question } from "../../agent/policy/engine.ts";
import { check, findings, outcomes } from "../policy/check.ts";
import { compiled, readCil } from "../policy/compile.ts";

const policy = compiled(readCil("test/policy/small.cil"));

/** Outcome of the only test. */
const one = (text: string) => outcomes(check(text, policy)).join("\n");

describe("an assertion", () => {
  const own = `source = "guest_t"\ntarget = "image_t"\nclass = "file"\n`;

  it("holds when everything in allow is allowed and nothing in never is", () => {
    assert.equal(one(own + `allow = ["read", "write"]\nnever = ["open", "map"]`), "holds");
  });
  it("is broken when one of them is not allowed", () => {
    const report = check(own + `allow = ["read", "map"]`, policy);
    assert.deepEqual(outcomes(report), ["broken"]);
    assert.deepEqual(findings(report), ["guest_t image_t file map: denied"]);
  });
  it("is broken when one of the others is allowed", () => {
    const report = check(own + `never = ["open", "write"]`, policy);
    assert.deepEqual(findings(report), ["guest_t image_t file write: allowed"]);
  });
  it("forbids all of the class but what stands in only, which need not be allowed", () => {
    assert.equal(one(own + `only = ["read", "write", "getattr", "map"]`), "holds");
    const report = check(own + `only = ["getattr"]`, policy);
    assert.deepEqual(findings(report), [
      "guest_t image_t file read: allowed",
      "guest_t image_t file write: allowed",
    ]);
  });
  it("expands attributes, on both sides", () => {
    const text = `source = "guests"\ntarget = ["image_t", "nfs_t"]\nclass = "file"\n`;
    const report = check(text + `never = ["getattr"]`, policy);
    assert.deepEqual(findings(report), [
      "guest_t image_t file getattr: allowed",
      "guest_t nfs_t file getattr: allowed",
      "other_guest_t image_t file getattr: allowed",
    ]);
    assert.equal(report.verdicts[0]!.pairs, 4);
  });
  it("leaves exceptions out, of a list, of an attribute, and of every type", () => {
    const rest = `class = "file"\nnever = ["read"]`;
    const holds = (source: string) =>
      one(`source = ${source}\ntarget = "image_t"\n${rest}`) === "holds";
    assert.ok(!holds(`["guests", "-guest_t"]`));
    assert.ok(holds(`["guests", "-guest_t", "-other_guest_t?", "init_t"]`));
    assert.ok(holds(`["*", "-guests", "-free_t", "-parent_t", "-child_t"]`));
    assert.ok(!holds(`["*", "-guests", "-parent_t", "-child_t"]`));
  });
  it("takes self as each source alone, not as every pair of them", () => {
    const report = check(
      `source = "guests"\ntarget = "self"\nclass = "process"\nallow = ["transition"]`,
      policy,
    );
    assert.deepEqual(findings(report), [
      "guest_t guest_t process transition: denied",
      "other_guest_t other_guest_t process transition: denied",
    ]);
  });
  it("asks about a full context as it stands", () => {
    const source = `source = "system_u:system_r:guest_t:s0:c1"\nclass = "file"\nallow = ["read"]\n`;
    assert.equal(one(source + `target = "system_u:object_r:image_t:s0:c1"`), "holds");
    assert.equal(one(source + `target = "system_u:object_r:image_t:s0:c2"`), "broken");
  });
});

describe("the relation of an assertion", () => {
  const read = (relation: string, never: string) =>
    one(
      `source = "guest_t"\ntarget = "image_t"\nclass = "file"\n` +
        `relation = "${relation}"\n${never} = ["read"]`,
    );

  it("gives source and target the same categories, others, or the target none", () => {
    assert.equal(read("same-categories", "allow"), "holds");
    assert.equal(read("no-categories", "allow"), "holds");
    assert.equal(read("other-categories", "never"), "holds");
  });
  it("shows the constraint where one says no", () => {
    const text = `source = "guest_t"\ntarget = "image_t"\nclass = "file"\nallow = ["read"]\n`;
    const [finding] = check(text + `relation = "other-categories"`, policy).verdicts[0]!.findings;
    assert.equal(finding!.decision.by, "constraint");
    assert.match(finding!.decision.constraint!, /h1 dom h2/);
  });
});

describe("inherited_only", () => {
  const image = `target = "image_t"\nclass = "file"\nrelation = "same-categories"\n` +
    `inherited_only = true\nopener = "init_t"\n`;

  it("asks for use of the opener's descriptor, for read and write, and for no open", () => {
    const asked = check(`source = "guest_t"\n${image}`, policy);
    assert.deepEqual(findings(asked), ["guest_t init_t fd use: denied"]);
    const opens = check(`source = "guest_t"\n${image}`, policy, { fixed: { open_all: true } });
    assert.ok(findings(opens).includes("guest_t image_t file open: allowed"));
  });
  it("asks for what allow says instead", () => {
    const asked = check(`source = "guest_t"\n${image}allow = ["getattr", "map"]`, policy);
    assert.ok(findings(asked).includes("guest_t image_t file map: denied"));
  });
});

describe("booleans of an assertion", () => {
  const nfs = `source = "guest_t"\ntarget = "nfs_t"\nclass = "file"\nnever = ["open"]\n`;

  it("are as the policy has them where none are named", () => {
    assert.equal(one(nfs), "holds");
  });
  it("have the values that when says", () => {
    assert.equal(one(nfs + `when = { use_nfs = "on" }`), "use_nfs=on | broken");
    assert.equal(
      one(nfs + `when = { use_nfs = "on", no_nfs = "on" }`),
      "use_nfs=on no_nfs=on | holds",
    );
  });
  it("are asked in every state", () => {
    assert.deepEqual(outcomes(check(nfs + `booleans = ["use_nfs", "no_nfs"]`, policy)), [
      "use_nfs=off no_nfs=off | holds",
      "use_nfs=off no_nfs=on | holds",
      "use_nfs=on no_nfs=off | broken",
      "use_nfs=on no_nfs=on | holds",
    ]);
  });
  it("are asked once where no rule depends on them, which the verdict says", () => {
    const report = check(nfs + `booleans = ["use_nfs", "open_all"]`, policy);
    assert.deepEqual(outcomes(report), ["use_nfs=off | holds", "use_nfs=on | broken"]);
    assert.deepEqual(report.verdicts[0]!.notes, [
      "asked once: no rule of it depends on open_all",
    ]);
  });
  it("make a state of their own only where they make a difference", () => {
    const report = check(nfs + `when = { open_all = "on", use_nfs = "off" }`, policy);
    assert.deepEqual(outcomes(report), ["open_all=on use_nfs=off | holds"]);
    assert.equal(report.states, 1);
    const map = check(nfs.replace("open", "map") + `booleans = ["use_nfs"]`, policy);
    assert.deepEqual(outcomes(map), ["holds"]);
  });
  it('are those that its rules depend on, where it says "all"', () => {
    assert.equal(outcomes(check(nfs + `booleans = "all"`, policy)).length, 4);
    const image = nfs.replace("nfs_t", "image_t");
    assert.deepEqual(outcomes(check(image + `booleans = "all"`, policy)), [
      "open_all=off | holds",
      "open_all=on | broken",
    ]);
  });
  it("are fixed for all assertions, which then speak of that state alone", () => {
    const fixed = { use_nfs: true };
    assert.deepEqual(outcomes(check(nfs, policy, { fixed })), ["use_nfs=on | broken"]);
    assert.deepEqual(outcomes(check(nfs + `booleans = "all"`, policy, { fixed })), [
      "use_nfs=on no_nfs=off | broken",
      "use_nfs=on no_nfs=on | holds",
    ]);
    assert.deepEqual(outcomes(check(nfs + `when = { use_nfs = "off" }`, policy, { fixed })), [
      "use_nfs=off | not-applicable | it speaks of use_nfs=off, which is fixed to be on",
    ]);
  });
});

describe("what could not be asked", () => {
  const rest = `target = "image_t"\nclass = "file"\nnever = ["open"]`;

  for (
    const [what, text, reason] of [
      ["type", `source = "guset_t"\n${rest}`, 'type "guset_t"'],
      ["excluded type", `source = ["guests", "-guset_t"]\n${rest}`, 'type "guset_t"'],
      ["class", `source = "guest_t"\n${rest.replace("file", "fiel")}`, 'class "fiel"'],
      [
        "permission",
        `source = "guest_t"\n${rest.replace("open", "opne")}`,
        'permission "opne" of class "file"',
      ],
      ["boolean", `source = "guest_t"\n${rest}\nbooleans = ["no"]`, 'boolean "no"'],
      ["boolean in when", `source = "guest_t"\n${rest}\nwhen = { no = "on" }`, 'boolean "no"'],
      [
        "opener, which is the agent's domain where none is named",
        `source = "guest_t"\n${rest}\ninherited_only = true`,
        'type "svirt_agent_t"',
      ],
    ] as const
  ) {
    it(`is unknown, and never holds: a ${what} that the policy lacks`, () => {
      const [verdict] = check(text, policy).verdicts;
      assert.equal(verdict!.outcome, "unknown");
      assert.equal(verdict!.reason, `the policy has no ${reason}`);
    });
  }
  it("is unknown where the policy has no such context", () => {
    const text = `source = "system_u:system_r:image_t:s0"\n${rest}`;
    assert.match(one(text), /^unknown \| the policy has no context/);
  });
  it("is unknown where exceptions leave nothing", () => {
    assert.match(one(`source = ["guest_t", "-guests"]\n${rest}`), /^unknown \| its exceptions/);
  });
  it("is not applicable where the file says that it may be missing, and says of what", () => {
    assert.equal(
      one(`source = "svirt_tcg_t?"\n${rest}`),
      'not-applicable | the policy has no type "svirt_tcg_t"',
    );
    assert.equal(
      one(`source = "guest_t"\n${rest}\nwhen = { "no?" = "on" }`),
      'no=on | not-applicable | the policy has no boolean "no"',
    );
  });
  it("is left out where others remain, with a note", () => {
    const report = check(`source = ["guests", "svirt_tcg_t?"]\n${rest}`, policy);
    assert.deepEqual(outcomes(report), ["holds"]);
    assert.deepEqual(report.verdicts[0]!.notes, [
      'left out: the policy has no type "svirt_tcg_t"',
    ]);
  });
  it("is not asked where it is disabled, and the reason stays", () => {
    assert.equal(
      one(`source = "guest_t"\n${rest}\ndisable = "until the next release"`),
      "disabled | until the next release",
    );
  });
});

describe("a permissive domain", () => {
  it("breaks what should be denied: nothing is denied to it", () => {
    const text = `source = "free_t"\ntarget = ["image_t", "nfs_t"]\nclass = "file"\n`;
    const report = check(text + `never = ["write"]`, policy);
    assert.deepEqual(findings(report), [
      "free_t image_t file write: denied",
      "free_t nfs_t file write: denied",
    ]);
    assert.ok(report.verdicts[0]!.findings.every(({ permissive }) => permissive));
  });
});

describe("asking", () => {
  /** Answers as the policy does, and notes what it was asked. */
  function listening(): { engine: PolicyEngine; asked: Question[] } {
    const asked: Question[] = [];
    const engine = {
      origin: policy.origin,
      db: policy.db,
      ask(questions: readonly Question[]): readonly PolicyAnswer[] {
        asked.push(...questions);
        return policy.ask(questions);
      },
      lacks: (contexts: readonly string[]) => policy.lacks(contexts),
      [Symbol.dispose]() {},
    };
    return { engine, asked };
  }

  it("is left out for pairs that no rule reaches in any state: they are denied", () => {
    const { engine, asked } = listening();
    const text = `source = "*"\ntarget = "*"\nclass = "file"\nnever = ["open"]`;
    assert.deepEqual(outcomes(check(text, engine)), ["broken"]);
    const types = policy.db.types().length;
    assert.ok(asked.length < types * types / 2);
    const reached = new Set(asked.map(({ source, target }) => `${source} ${target}`));
    const contexts = policy.db.types().map((type) => {
      const { user, role } = policy.db.holderOf(type);
      return `${user}:${role}:${type}:s0`;
    });
    const others = contexts
      .flatMap((source) => contexts.map((target) => ({ source, target })))
      .filter(({ source, target }) => !reached.has(`${source} ${target}`));
    const states = [{}, { open_all: true }, { use_nfs: true }];
    const answers = policy.ask(
      states.flatMap((booleans) =>
        others.map((pair) => ({ ...pair, tclass: "file", permissions: ["open"], booleans }))
      ),
    );
    for (const { decisions } of answers) assert.equal(decisions.get("open")!.answer, "denied");
  });
  it("tells how far it is, in questions", () => {
    const told: string[] = [];
    const text = `source = "guests"\ntarget = "nfs_t"\nclass = "file"\nnever = ["open"]\n`;
    check(text + `booleans = "all"`, policy, {
      onProgress: (done, of) => told.push(`${done} of ${of}`),
    });
    assert.deepEqual(told, ["8 of 8"]);
  });
});
