import { basename } from "node:path";
import { describeFindings, describeOutcome, testName } from "../policy/assertion/describe.ts";
import {
  type AssertionVerdict,
  countOutcomes,
  type PolicyReport,
} from "../policy/assertion/verdict.ts";

/**
 * What `policy test` found, as GitLab, Jenkins and GitHub's actions show tests: a file is a suite, an
 * assertion in one state of booleans a test; broken is a failure, unknown an error.
 */
export function junit(report: PolicyReport): string {
  const { verdicts } = report;
  const suites = [...Map.groupBy(verdicts, ({ assertion }) => assertion.file)];
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites name="svirt-agent policy test"${counts(verdicts)}>`,
    ...suites.flatMap(([file, of]) => suite(file, of, report)),
    "</testsuites>",
  ].join("\n");
}

function suite(file: string, verdicts: readonly AssertionVerdict[], report: PolicyReport) {
  return [
    `  <testsuite${attributes({ name: file, file })}${counts(verdicts)}>`,
    "    <properties>",
    `      <property${attributes({ name: "policy", value: report.origin })}/>`,
    `      <property${attributes({ name: "policyVersion", value: report.policyVersion })}/>`,
    "    </properties>",
    ...verdicts.flatMap((verdict) => testcase(verdict, report)),
    "  </testsuite>",
  ];
}

function testcase(verdict: AssertionVerdict, report: PolicyReport): string[] {
  const { assertion: { file, line, desc, controls }, notes } = verdict;
  const classname = basename(file, ".toml");
  const output = [desc, ...notes, ...controls.map((it) => `control: ${it}`)];
  return [
    `    <testcase${attributes({ classname, name: testName(verdict), file, line })}>`,
    ...outcomeOf(verdict, report),
    `      <system-out>${escaped(output.join("\n"))}</system-out>`,
    "    </testcase>",
  ];
}

function outcomeOf(verdict: AssertionVerdict, report: PolicyReport): string[] {
  const { outcome, assertion: { file, line, means, hint } } = verdict;
  const message = describeOutcome(verdict);
  const text = [
    `${file}:${line}`,
    ...describeFindings([verdict], report).flat(),
    ...(means === undefined ? [] : [`means: ${means}`]),
    ...(hint === undefined ? [] : [`hint: ${hint}`]),
  ].join("\n");
  switch (outcome) {
    case "holds":
      return [];
    case "broken":
      return [
        `      <failure${attributes({ message, type: outcome })}>${escaped(text)}</failure>`,
      ];
    case "unknown":
      return [`      <error${attributes({ message, type: outcome })}>${escaped(text)}</error>`];
    default:
      return [`      <skipped${attributes({ message })}/>`];
  }
}

function counts(verdicts: readonly AssertionVerdict[]): string {
  const { broken, unknown, disabled, "not-applicable": inapplicable } = countOutcomes(verdicts);
  return attributes({
    tests: verdicts.length,
    failures: broken,
    errors: unknown,
    skipped: disabled + inapplicable,
  });
}

function attributes(values: Readonly<Record<string, string | number>>): string {
  return Object.entries(values)
    // A newline in an attribute would be read as a space.
    .map(([name, value]) => ` ${name}="${escaped(String(value)).replaceAll("\n", "&#10;")}"`)
    .join("");
}

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
};

/** Characters that XML 1.0 has no way to write become U+FFFD. */
function escaped(text: string): string {
  return text
    .replaceAll(/[&<>"]/g, (character) => ENTITIES[character]!)
    // deno-lint-ignore no-control-regex
    .replaceAll(/[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]|\p{Surrogate}/gu, "\ufffd");
}
