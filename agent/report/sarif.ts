import { isAbsolute, sep } from "node:path";
import { pathToFileURL } from "node:url";
import { describeFindings, describeOutcome, testName } from "../policy/assertion/describe.ts";
import type { Assertion } from "../policy/assertion/assertion.ts";
import {
  type AssertionVerdict,
  countOutcomes,
  formatState,
  type Outcome,
  type PolicyReport,
} from "../policy/assertion/verdict.ts";
import { VERSION } from "../version.ts";

/**
 * What `policy test` found, as the Static Analysis Results Interchange Format 2.1.0 of OASIS has it: an
 * assertion is a rule; what holds in a state of booleans leaves no result. Nor does what was not asked:
 * viewers (GitHub's code scanning) take every result for an alert, whatever its kind, and suppressed or
 * not.
 */
export function sarif(report: PolicyReport): string {
  const { verdicts, origin, policyVersion } = report;
  const assertions = [...new Set(verdicts.map(({ assertion }) => assertion))];
  const of = (...outcomes: readonly Outcome[]) =>
    verdicts.filter(({ outcome }) => outcomes.includes(outcome));
  const document = {
    $schema:
      "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
    version: "2.1.0",
    runs: [{
      tool: {
        driver: { name: "svirt-agent", semanticVersion: VERSION, rules: assertions.map(ruleOf) },
      },
      invocations: [{
        executionSuccessful: true,
        toolConfigurationNotifications: of("disabled", "not-applicable").map((verdict) =>
          notificationOf(verdict, assertions.indexOf(verdict.assertion))
        ),
        properties: { policy: origin, policyVersion, ...countOutcomes(verdicts) },
      }],
      columnKind: "utf16CodeUnits",
      results: of("broken", "unknown").map((verdict) =>
        resultOf(verdict, assertions.indexOf(verdict.assertion), report)
      ),
    }],
  };
  return JSON.stringify(document, null, 2);
}

function ruleOf({ id, desc, means, hint, controls }: Assertion) {
  const help = [means, hint].filter((it) => it !== undefined).join(" ");
  return {
    id,
    shortDescription: { text: desc },
    ...means !== undefined && { fullDescription: { text: means } },
    ...help !== "" && { help: { text: help } },
    defaultConfiguration: { level: "error" },
    ...controls.length > 0 && { properties: { tags: [...new Set(controls)] } },
  };
}

/** 3.27.9: where kind is not `fail`, level has to be `none`. */
const KINDS = {
  broken: { kind: "fail", level: "error" },
  unknown: { kind: "open", level: "none" },
} as const;

function resultOf(verdict: AssertionVerdict, ruleIndex: number, report: PolicyReport) {
  const { assertion, outcome, state } = verdict;
  const findings = describeFindings([verdict], report).flat();
  return {
    ruleId: assertion.id,
    ruleIndex,
    ...KINDS[outcome as keyof typeof KINDS],
    message: { text: [describeOutcome(verdict), ...findings].join("\n") },
    locations: locationsOf(assertion),
    // Two states of one assertion are two results, also when lines move.
    partialFingerprints: { "assertionInState/v1": testName(verdict) },
    properties: { outcome, state: formatState(state) },
  };
}

/** 3.58: what was not asked, and why that is right. */
function notificationOf(verdict: AssertionVerdict, index: number) {
  const { assertion, outcome, state } = verdict;
  return {
    associatedRule: { id: assertion.id, index },
    level: "note",
    message: { text: describeOutcome(verdict) },
    locations: locationsOf(assertion),
    properties: { outcome, state: formatState(state) },
  };
}

function locationsOf({ file, line }: Assertion) {
  return [{
    physicalLocation: { artifactLocation: { uri: uriOf(file) }, region: { startLine: line } },
  }];
}

/** Relative where it was given so: then a viewer finds it in its own checkout. */
function uriOf(file: string): string {
  if (isAbsolute(file)) return pathToFileURL(file).href;
  return file.split(sep).map(encodeURIComponent).join("/");
}
