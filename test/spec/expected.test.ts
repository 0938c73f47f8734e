import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { differences, EXPECTED_OF_OTHERS, expectedOfOwn } from "../../agent/verify/expected.ts";
import type { Answer, Decision, Verdict } from "../../agent/verify/verdict.ts";

const KEYS = ["dup", "open", "read", "write", "map"] as const;
const ANSWERS = ["allowed", "denied", "unknown"] as const;

function verdict(answers: Readonly<Record<keyof Verdict, Answer>>): Verdict {
  const decide = (answer: Answer): Decision => ({ answer, by: "te" });
  return Object.fromEntries(KEYS.map((key) => [key, decide(answers[key])])) as unknown as Verdict;
}

describe("expectedOfOwn", () => {
  for (
    const [access, write] of [["rw", "allowed"], ["ro", "denied"]] as const
  ) {
    it(`lets a guest use a descriptor that is ${access}, with write ${write}, and never the path`, () => {
      assert.deepEqual(expectedOfOwn(access), {
        dup: "allowed",
        open: "denied",
        read: "allowed",
        write,
        map: "denied",
      });
    });
  }
});

describe("differences", () => {
  for (const access of ["ro", "rw"] as const) {
    const expected = expectedOfOwn(access);

    it(`finds none in a verdict that is as expected of ${access}`, () => {
      assert.deepEqual(differences(verdict(expected), expected), []);
    });

    for (const key of KEYS) {
      for (const answer of ANSWERS.filter((answer) => answer !== expected[key])) {
        it(`finds ${key} of ${access} when it is ${answer}`, () => {
          assert.deepEqual(differences(verdict({ ...expected, [key]: answer }), expected), [key]);
        });
      }
    }
  }

  it("finds what nobody answered", () => {
    assert.deepEqual(differences({}, expectedOfOwn("rw")), [...KEYS]);
  });

  it("asks only for open of somebody else's image", () => {
    const denied = { answer: "denied", by: "te" } as const;
    const allowed = { answer: "allowed", by: "te" } as const;
    assert.deepEqual(differences({ open: denied, read: allowed }, EXPECTED_OF_OTHERS), []);
    assert.deepEqual(differences({ open: allowed }, EXPECTED_OF_OTHERS), ["open"]);
    assert.deepEqual(differences({ open: { answer: "unknown", by: "dac" } }, EXPECTED_OF_OTHERS), [
      "open",
    ]);
  });
});
