import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { Ajv } from "ajv";
import { findCommand } from "../../agent/command/find.ts";
import { parse } from "../../agent/command/parse.ts";
import { run } from "../../agent/command/policy_test.ts";
import { reportLines } from "../../agent/command/policy_test_view.ts";
import { evaluate } from "../../agent/policy/assertion/evaluate.ts";
import { readAssertions } from "../../agent/policy/assertion/parse.ts";
import { junit } from "../../agent/report/junit.ts";
import { policyJson } from "../../agent/report/policy_json.ts";
import { sarif } from "../../agent/report/sarif.ts";
import { tap } from "../../agent/report/tap.ts";
import { equalsGolden, goldenFile } from "../fakes/golden.ts";
import { compile, compiled, readCil } from "../policy/compile.ts";

const folder = mkdtempSync(join(tmpdir(), "policy-test-"));
after(() => rmSync(folder, { recursive: true }));
const small = readCil("test/policy/small.cil");
const policy = join(folder, "policy.33");
writeFileSync(policy, compile([small]));

/** What `policy test` prints, and its exit status. */
async function test(...typed: string[]): Promise<{ status: number; text: string; told: string[] }> {
  const { command, rest } = findCommand(["policy", "test", ...typed]);
  const [lines, told]: [string[], string[]] = [[], []];
  const terminal = {
    out: (line: string) => lines.push(line),
    err: (line: string) => told.push(line),
  };
  return { status: await run(parse(command, rest), terminal), text: lines.join("\n"), told };
}

/** A file with one assertion about what guests may do with images. */
function file(name: string, rest: string): string {
  const path = join(folder, `${name}.toml`);
  const target = `target = "image_t"\nclass = "file"\n`;
  writeFileSync(
    path,
    `[[assertion]]\nid = "${name}"\ndesc = "${name}"\nsource = "guests"\n${target}${rest}\n`,
  );
  return path;
}

const holds = file("holds", `never = ["map"]`);
const broken = file("broken", `never = ["read"]`);
const unknown = file("unknown", `never = ["fly"]`);
const inapplicable = file("inapplicable", `never = ["fly?"]`);
const disabled = file("disabled", `never = ["read"]\ndisable = "later"`);
const boolean = file("boolean", `never = ["open"]\nbooleans = ["open_all"]`);

describe("the exit status of svirt-agent policy test", () => {
  for (
    const [status, what, files] of [
      [0, "all hold", [holds]],
      [0, "the rest is not applicable or disabled", [holds, inapplicable, disabled]],
      [1, "one is broken", [holds, broken]],
      [1, "one is broken in one state", [boolean]],
      [1, "one is broken and another unknown", [unknown, broken]],
      [3, "one is unknown", [holds, unknown]],
    ] as const
  ) {
    it(`is ${status} when ${what}`, async () => {
      assert.equal((await test("--policy", policy, ...files)).status, status);
    });
  }
  it("is that of the state that --boolean fixes", async () => {
    assert.equal((await test("-p", policy, "-b", "open_all=off", boolean)).status, 0);
    assert.equal((await test("-p", policy, "-b", "open_all=on", boolean)).status, 1);
  });
  for (
    const [what, name, typed] of [
      ["a format that is not known", "UsageError", ["--format", "xml", holds]],
      ["a boolean that the policy lacks", "UsageError", ["-b", "no=on", holds]],
      ["a file that is not there", "ConfigError", [join(folder, "no.toml")]],
      ["an id in two files", "ConfigError", [holds, holds]],
    ] as const
  ) {
    it(`is that of usage for ${what}`, async () => {
      await assert.rejects(test("--policy", policy, ...typed), { name });
    });
  }
});

/** The whole, with names that are the same on every machine. */
function report() {
  const read = readAssertions([goldenFile("policy_test", "toml")]);
  const assertions = read.map((it) => ({ ...it, file: "policy/web.toml" }));
  return evaluate(assertions, compiled(small));
}

const FORMATS = {
  txt: () => reportLines(report()).join("\n"),
  tap: () => tap(report()),
  json: () => policyJson(report()),
  junit: () => junit(report()),
  sarif: () => sarif(report()),
};

describe("what svirt-agent policy test prints", () => {
  for (const [ending, print] of Object.entries(FORMATS)) {
    it(`is policy_test.${ending}`, () => {
      equalsGolden(`${print()}\n`, "policy_test", ending);
    });
  }
  for (const format of ["text", "tap", "json", "junit", "sarif"]) {
    it(`names whatever is disabled or not applicable, and why: --format ${format}`, async () => {
      const { text } = await test("-p", policy, "--format", format, holds, disabled, inapplicable);
      assert.match(text, /disabled/);
      assert.match(text, /later/);
      assert.match(text, /inapplicable/);
      assert.match(text, /permission .{1,6}fly/);
    });
  }
  it("is on stdout alone: nothing is told on stderr while it is fast", async () => {
    const { text, told } = await test("-p", policy, holds);
    assert.deepEqual(told, []);
    assert.match(text, /1 hold, 0 broken/);
  });
});

describe("TAP", () => {
  it("has a plan and one test point for each test, numbered", () => {
    const lines = tap(report()).split("\n");
    const points = lines.filter((line) => /^(not )?ok /.test(line));
    assert.equal(lines[0], "TAP version 14");
    assert.ok(lines.includes(`1..${points.length}`));
    points.forEach((line, i) => assert.match(line, new RegExp(`^(not )?ok ${i + 1} - `)));
  });
  it("escapes what would be a directive", () => {
    const lines = tap(report()).split("\n").filter((line) => /^(not )?ok /.test(line));
    for (const line of lines) assert.match(line.replaceAll("\\#", ""), /^[^#]*( # SKIP .+)?$/);
  });
});

describe("JUnit", () => {
  it("has one test for each assertion in each state, and counts that fit", () => {
    const xml = junit(report());
    const cases = [...xml.matchAll(/<testcase .*?name="([^"]*)" file="([^"]*)" line="(\d+)"/g)];
    assert.equal(new Set(cases.map(([, name]) => name)).size, cases.length);
    assert.equal(cases.length, report().verdicts.length);
    const [, tests, failures, errors, skipped] =
      /tests="(\d+)" failures="(\d+)" errors="(\d+)" skipped="(\d+)"/.exec(xml)!.map(Number);
    assert.equal(tests, cases.length);
    const count = (tag: string) => xml.split(`<${tag} `).length - 1;
    assert.deepEqual([failures, errors, skipped], ["failure", "error", "skipped"].map(count));
  });
  it("writes nothing that is no XML, whatever an assertion says", () => {
    const nasty = report();
    const [verdict] = nasty.verdicts;
    const assertion = { ...verdict!.assertion, desc: `<&">]]>\u0000\u0001\ud800\ufffe` };
    const xml = junit({ ...nasty, verdicts: [{ ...verdict!, assertion }] });
    assert.match(xml, />&lt;&amp;&quot;&gt;\]\]&gt;\ufffd{4}\n/);
  });
});

/** What a result and a notification have in common. */
interface Named {
  readonly ruleId: string;
  readonly ruleIndex: number;
  readonly locations: readonly [{ physicalLocation: { region: { startLine: number } } }];
  readonly properties: { readonly outcome: string };
}

describe("SARIF", () => {
  const validate = new Ajv({ strict: true })
    .compile(JSON.parse(readFileSync(goldenFile("sarif_essentials"), "utf8")));

  it("has what the standard demands of the parts that it uses", () => {
    assert.ok(validate(JSON.parse(sarif(report()))), JSON.stringify(validate.errors));
  });
  const lines = readFileSync(goldenFile("policy_test", "toml"), "utf8").split("\n");
  const [run] = JSON.parse(sarif(report())).runs;
  const [{ toolConfigurationNotifications: notifications }] = run.invocations;
  const named: readonly Named[] = [
    ...run.results,
    ...notifications.map((it: { associatedRule: { id: string; index: number } }) => ({
      ...it,
      ruleId: it.associatedRule.id,
      ruleIndex: it.associatedRule.index,
    })),
  ];

  for (const { ruleId, ruleIndex, locations, properties: { outcome } } of named) {
    it(`points to the line of the assertion "${ruleId}", which is ${outcome}`, () => {
      const { region: { startLine } } = locations[0].physicalLocation;
      assert.equal(lines[startLine - 1], "[[assertion]]");
      assert.equal(lines[startLine], `id = "${ruleId}"`);
      assert.equal(run.tool.driver.rules[ruleIndex].id, ruleId);
    });
  }
  it("has a result for each test that is broken or unknown, and none for another: viewers show all", () => {
    const outcomes = (...some: readonly string[]) =>
      report().verdicts.map(({ outcome }) => outcome).filter((it) => some.includes(it));
    const shown = (them: readonly Named[]) => them.map(({ properties: { outcome } }) => outcome);
    assert.deepEqual(shown(run.results), outcomes("broken", "unknown"));
    assert.deepEqual(shown(notifications), outcomes("disabled", "not-applicable"));
  });
  it("takes a file with an absolute path as a URI", () => {
    const whole = report();
    const [, verdict] = whole.verdicts;
    const assertion = { ...verdict!.assertion, file: "/etc/a b.toml" };
    const document = JSON.parse(sarif({ ...whole, verdicts: [{ ...verdict!, assertion }] }));
    const [{ locations }] = document.runs[0].results;
    assert.equal(locations[0].physicalLocation.artifactLocation.uri, "file:///etc/a%20b.toml");
  });
});
