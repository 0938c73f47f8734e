import { describeFindings, describeOutcome, testName } from "../policy/assertion/describe.ts";
import type { AssertionVerdict, PolicyReport } from "../policy/assertion/verdict.ts";

/** What `policy test` found, in the Test Anything Protocol, version 14. */
export function tap(report: PolicyReport): string {
  const { origin, policyVersion, verdicts } = report;
  return [
    "TAP version 14",
    `# policy: ${oneLine(origin)} (version ${policyVersion})`,
    `1..${verdicts.length}`,
    ...verdicts.flatMap((verdict, i) => testPoint(verdict, i + 1, report)),
  ].join("\n");
}

function testPoint(verdict: AssertionVerdict, number: number, report: PolicyReport): string[] {
  const { outcome, notes } = verdict;
  const point = `${number} - ${escaped(testName(verdict))} ${escaped(verdict.assertion.desc)}`;
  switch (outcome) {
    case "holds":
      return [`ok ${point}`, ...notes.map((note) => `# ${oneLine(note)}`)];
    case "disabled":
    case "not-applicable":
      return [`ok ${point} # SKIP ${oneLine(describeOutcome(verdict))}`];
    case "broken":
    case "unknown":
      return [`not ok ${point}`, ...diagnostics(verdict, report)];
  }
}

/** A YAML block; every string is quoted as JSON does it, which YAML reads alike. */
function diagnostics(verdict: AssertionVerdict, report: PolicyReport): string[] {
  const { assertion: { file, line, means, hint, controls }, outcome, notes } = verdict;
  const list = (key: string, texts: readonly string[]) =>
    texts.length === 0 ? [] : [`${key}:`, ...texts.map((text) => `  - ${JSON.stringify(text)}`)];
  const text = (key: string, value: string | undefined) =>
    value === undefined ? [] : [`${key}: ${JSON.stringify(value)}`];
  return [
    "---",
    ...text("message", describeOutcome(verdict)),
    `severity: ${outcome === "broken" ? "fail" : "unknown"}`,
    "at:",
    `  file: ${JSON.stringify(file)}`,
    `  line: ${line}`,
    ...list("findings", describeFindings([verdict], report).map((lines) => lines.join("\n"))),
    ...text("means", means),
    ...text("hint", hint),
    ...list("controls", controls),
    ...list("notes", notes),
    "...",
  ].map((line) => `  ${line}`);
}

/** In a description `#` begins a directive. */
function escaped(text: string): string {
  return oneLine(text).replaceAll(/[\\#]/g, "\\$&");
}

function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, " ").trim();
}
