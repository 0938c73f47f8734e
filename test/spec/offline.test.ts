import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { failedParts } from "../../agent/policy/constraint.ts";
import type { Question } from "../../agent/policy/engine.ts";
import { bytesLoaded } from "../../agent/policy/loaded_policy.ts";
import { OfflinePolicy, PolicyFileError } from "../../agent/policy/offline.ts";
import { compile, compiled, readCil } from "../policy/compile.ts";

const small = readCil("test/policy/small.cil");
const policy = compiled(small);

const guest = "system_u:system_r:guest_t:s0:c1";
const image = "system_u:object_r:image_t:s0:c1";
const nfs = "system_u:object_r:nfs_t:s0";

function ask(source: string, target: string, tclass: string, permission: string, booleans = {}) {
  const [answer] = policy.ask([{ source, target, tclass, permissions: [permission], booleans }]);
  return answer!.decisions.get(permission)!;
}

describe("a policy asked offline", () => {
  it("allows what a rule grants within the categories", () => {
    assert.equal(ask(guest, image, "file", "write").answer, "allowed");
  });
  it("denies what no rule grants, and says that rules of types do", () => {
    assert.deepEqual(ask(guest, image, "file", "map"), {
      answer: "denied",
      by: "te",
      audited: true,
    });
  });
  it("knows which denials leave no AVC", () => {
    assert.equal(ask(guest, image, "file", "execute").audited, false);
  });
  it("names the constraint that denies, and the parts of it that failed", () => {
    const { answer, by, constraint } = ask(
      guest,
      "system_u:object_r:image_t:s0:c2",
      "file",
      "read",
    );
    assert.deepEqual([answer, by], ["denied", "constraint"]);
    assert.match(constraint!, /^mlsconstrain file \{ read write \}/);
    assert.deepEqual(failedParts(constraint!), [
      "the source's high level has to include the target's high level",
      "the source's type has to be free_t",
    ]);
  });
  it("names what denies a transition to a role that no rule allows", () => {
    const target = "system_u:guest_r:guest_t:s0";
    const { by, constraint } = ask("system_u:system_r:init_t:s0", target, "process", "transition");
    assert.equal(by, "constraint");
    assert.match(constraint!, /role allow/);
  });
  it("tells that a domain is permissive, and answers by the rules all the same", () => {
    const question = { source: "system_u:system_r:free_t:s0", target: image, tclass: "file" };
    const [answer] = policy.ask([{ ...question, permissions: ["read", "write"] }]);
    assert.equal(answer!.permissive, true);
    assert.deepEqual([...answer!.decisions.values()].map((it) => it.answer), ["allowed", "denied"]);
  });

  for (
    const [what, question, missing] of [
      ["type", ["system_u:system_r:guset_t:s0", image, "file", "read"], 'type "guset_t"'],
      ["type", [guest, "system_u:object_r:imgae_t:s0", "file", "read"], 'type "imgae_t"'],
      ["class", [guest, image, "fil", "read"], 'class "fil"'],
      ["permission", [guest, image, "file", "fly"], 'permission "fly" of class "file"'],
      ["category", [guest, "system_u:object_r:image_t:s0:c9", "file", "read"], /^context ".*c9"$/],
    ] as [string, Parameters<typeof ask>, string | RegExp][]
  ) {
    it(`answers unknown for a ${what} that the policy lacks, and names it`, () => {
      const answer = ask(...question);
      assert.equal(answer.answer, "unknown");
      if (typeof missing === "string") assert.equal(answer.missing, missing);
      else assert.match(answer.missing!, missing);
    });
  }
});

describe("booleans of a policy asked offline", () => {
  it("are as the policy has them unless the question says otherwise", () => {
    assert.equal(ask(guest, nfs, "file", "open").answer, "denied");
    assert.equal(ask(guest, nfs, "file", "open", { use_nfs: true }).answer, "allowed");
    assert.equal(ask(guest, nfs, "file", "open").answer, "denied");
  });
  it("decide which branch holds: the other one's rules do not", () => {
    const source = "system_u:system_r:other_guest_t:s0";
    assert.equal(ask(guest, nfs, "file", "getattr").answer, "allowed");
    assert.equal(ask(source, nfs, "file", "getattr").answer, "denied");
    assert.equal(ask(source, nfs, "file", "getattr", { use_nfs: true }).answer, "allowed");
    const both = { use_nfs: true, no_nfs: true };
    assert.equal(ask(source, nfs, "file", "getattr", both).answer, "denied");
  });
  it("are named when the policy does not have them", () => {
    assert.throws(() => ask(guest, nfs, "file", "open", { use_nsf: true }), RangeError);
  });
  describe("in more states than one process may load", () => {
    const extra = Array.from({ length: 40 }, (_, i) => ({
      name: `b${i}`,
      text: `(boolean b${i} false)(booleanif b${i} (true (allow guest_t nfs_t (file (map)))))`,
    }));
    const bytes = compile([small, ...extra]);
    const question: Question = { source: guest, target: nfs, tclass: "file", permissions: ["map"] };

    for (const [what, most] of [["none", 0], ["five", bytesLoaded() + 5 * bytes.length]] as const) {
      it(`gives every answer in its place, with ${what} of them loaded here`, () => {
        const many = new OfflinePolicy(bytes, "many", most);
        const questions = extra.flatMap(({ name }) => [
          { ...question, booleans: { [name]: true } },
          question,
        ]);
        const answers = many.ask(questions).map((it) => it.decisions.get("map")!.answer);
        assert.deepEqual(answers, extra.flatMap(() => ["allowed", "denied"]));
        assert.deepEqual(many.lacks([guest, "system_u:system_r:nobody_t:s0"]), [
          undefined,
          'type "nobody_t"',
        ]);
      });
    }
    it("names a boolean that the policy does not have, as it does here", () => {
      const elsewhere = new OfflinePolicy(bytes, "many", 0);
      const unknown = [{ ...question, booleans: { use_nsf: true } }];
      assert.throws(() => elsewhere.ask(unknown), {
        name: "RangeError",
        message: 'The policy has no boolean "use_nsf"',
      });
    });
  });
  it("do not mix up two policies that are asked in turn", () => {
    const map = { name: "map", text: "(allow guest_t image_t (file (map)))" };
    const other = compiled(small, map);
    const question = { source: guest, target: image, tclass: "file", permissions: ["map"] };
    for (let round = 0; round < 2; round++) {
      const answers = [policy, other].map((it) => it.ask([question])[0]!.decisions.get("map")!);
      assert.deepEqual(answers.map((it) => it.answer), ["denied", "allowed"]);
    }
  });
});

describe("a file that cannot be asked", () => {
  it("is refused as no policy", () => {
    const text = new TextEncoder().encode("hello");
    assert.throws(() => new OfflinePolicy(text, "x.cil"), (error: PolicyFileError) => {
      assert.equal(error.name, "PolicyFileError");
      assert.match(error.message, /^"x\.cil" is no binary policy/);
      return true;
    });
  });
  it("is refused when libsepol is older than the policy, with what it reads", () => {
    const newer = compile([small]);
    // Version 35 begins with one more bitmap: none of its 12 bytes is set.
    const at = 16 + 4 + 4 * 3;
    const maps = [0, 1].reduce((end) => end + 12 + 12 * newer[end + 8]!, at);
    const empty = Uint8Array.of(64, ...new Array(11).fill(0));
    const image = Uint8Array.of(...newer.subarray(0, maps), ...empty, ...newer.subarray(maps));
    image[16] = 35;
    assert.throws(() => new OfflinePolicy(image, "policy.35"), {
      name: "PolicyFileError",
      message: /^"policy\.35" is of version 35: libsepol here reads up to 3\d$/,
    });
  });
});
