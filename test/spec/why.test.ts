import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { formatRule, RuleIndex } from "../../agent/policy/rule_index.ts";
import { why } from "../../agent/policy/why.ts";
import { compiled, readCil } from "../policy/compile.ts";

const policy = compiled(readCil("test/policy/small.cil"));
const index = new RuleIndex(policy.db);

const guest = "system_u:system_r:guest_t:s0:c1";
const nfs = "system_u:object_r:nfs_t:s0";

function ask(target: string, tclass: string, permission: string, booleans = {}) {
  const question = { source: guest, target, tclass, permissions: [permission], booleans };
  return why(question, policy, index).get(permission)!;
}

describe("why a policy answers so", () => {
  it("is, for what it allows, the rules that hold, as its source has them", () => {
    const { answer, rules } = ask("system_u:object_r:image_t:s0:c1", "file", "write");
    assert.equal(answer, "allowed");
    assert.deepEqual(rules.map(formatRule), [
      "allow guests image_t:file { read write getattr };",
    ]);
  });
  it("is a conditional rule with what it depends on", () => {
    assert.deepEqual(ask(nfs, "file", "getattr").rules.map(formatRule), [
      "allow guest_t nfs_t:file getattr; [ !(use_nfs && !no_nfs) ]",
    ]);
  });
  it("is the boolean that alone would allow it, and what then", () => {
    const { booleans } = ask(nfs, "file", "open");
    assert.deepEqual(booleans.map(({ name, value, then }) => [name, value, then.answer]), [
      ["use_nfs", true, "allowed"],
    ]);
    const blocked = ask(nfs, "file", "open", { use_nfs: true, no_nfs: true }).booleans;
    assert.deepEqual(blocked.map(({ name, value }) => [name, value]), [["no_nfs", false]]);
  });
  it("names no boolean where none alone would do, and none for a constraint", () => {
    const { booleans: alone, conditional } = ask(nfs, "file", "open", { no_nfs: true });
    assert.deepEqual(alone, []);
    assert.deepEqual(conditional.map(({ condition }) => condition?.text), ["use_nfs && !no_nfs"]);
    assert.deepEqual(ask(nfs, "file", "open").conditional, []);
    const { by, booleans, rules } = ask("system_u:object_r:image_t:s0:c2", "file", "write");
    assert.equal(by, "constraint");
    assert.deepEqual(booleans, []);
    assert.equal(rules.length, 1);
  });
});

describe("rules of a policy", () => {
  const found = (...question: Parameters<RuleIndex["find"]>) =>
    index.find(...question).map(formatRule);

  it("are found through the attributes of both types, dontaudit with them", () => {
    assert.deepEqual(found("guest_t", "image_t", "file").sort(), [
      "allow guests image_t:file open; [ open_all ]",
      "allow guests image_t:file { read write getattr };",
      "dontaudit guest_t image_t:file execute;",
    ]);
  });
  it("are found by an alias", () => {
    assert.deepEqual(
      found("guest_t", "old_image_t", "file"),
      found("guest_t", "image_t", "file"),
    );
  });
  it("are those about one permission, when it is named", () => {
    assert.deepEqual(found("guest_t", "image_t", "file", "open"), [
      "allow guests image_t:file open; [ open_all ]",
    ]);
  });
  it("are none for names that the policy does not have", () => {
    assert.deepEqual(found("nobody_t", "image_t", "file"), []);
    assert.deepEqual(found("guest_t", "image_t", "fil"), []);
  });
});
