/**
 * The bundled assertions, asked of the kernel that enforces the policy and of libsepol with a copy of
 * it: the same file, the same verdicts.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { bundledFiles } from "../../agent/policy/assertion/bundled.ts";
import { evaluate } from "../../agent/policy/assertion/evaluate.ts";
import { readAssertions } from "../../agent/policy/assertion/parse.ts";
import { formatState, type PolicyReport } from "../../agent/policy/assertion/verdict.ts";
import { LiveEngine, RUNNING_POLICY } from "../../agent/policy/live_engine.ts";
import { OfflinePolicy } from "../../agent/policy/offline.ts";
import { command } from "./command.ts";

const assertions = readAssertions(bundledFiles());

/** What can be compared: the kernel does not say which constraint it was. */
function essence({ verdicts }: PolicyReport): string[] {
  return verdicts.map(({ assertion: { id }, state, outcome, findings }) => {
    const found = findings.map(({ source, target, tclass, permission, decision }) =>
      [source, target, tclass, permission, decision.answer].join(" ")
    );
    return [id, formatState(state), outcome, ...found].join("\n");
  });
}

function idsOf({ verdicts }: PolicyReport, outcome: string): string[] {
  const ids = verdicts.filter((it) => it.outcome === outcome).map(({ assertion }) => assertion.id);
  return [...new Set(ids)].sort();
}

/** What Debian's own policy does not keep; each says in its file what that means. */
const STOCK = ["guest-leaves", "nfs-open-other-booleans", "other-backing"];
/** The lab lets the tests themselves, which run as initrc_t, do more than a host's programs may. */
const LAB = ["guest-start", "image-only-agent", "label-only-agent"];

describe("the bundled assertions on this host", () => {
  using live = new LiveEngine();
  using offline = OfflinePolicy.read(RUNNING_POLICY);
  const report = evaluate(assertions, live);

  it("have the same verdicts, asked of the kernel and of libsepol", () => {
    assert.deepEqual(essence(report), essence(evaluate(assertions, offline)));
  });
  it("hold, but for what is known of Debian's policy and of the lab's", () => {
    assert.deepEqual(idsOf(report, "broken"), [...STOCK, ...LAB].sort());
    assert.deepEqual(idsOf(report, "unknown"), []);
  });
  it("are broken by the lab only in what initrc_t may do", () => {
    for (const { assertion: { id }, findings } of report.verdicts) {
      if (!LAB.includes(id)) continue;
      for (const { source } of findings) assert.match(source, /:initrc_t:/, id);
    }
  });
  it("all speak of this policy: none is not applicable", () => {
    assert.deepEqual(idsOf(report, "not-applicable"), []);
  });
});

describe("svirt-agent policy test on a host", () => {
  it("asks the kernel when no file is named, and ends with 1: something is broken", async () => {
    const { status, stdout } = await command("node", [
      ...["dist/agent/main.js", "policy", "test", "--format", "json"],
    ]);
    assert.equal(status, 1);
    const { policy, summary } = JSON.parse(stdout);
    assert.equal(policy, "the running kernel");
    assert.equal(summary.unknown, 0);
  });
});
