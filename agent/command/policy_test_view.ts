import { describeFindings } from "../policy/assertion/describe.ts";
import {
  type AssertionVerdict,
  countOutcomes,
  formatState,
  type Outcome,
  type PolicyReport,
} from "../policy/assertion/verdict.ts";
import { table } from "./terminal.ts";

/** Groups of findings of one assertion that are shown; the other formats have all. */
const MOST_GROUPS = 6;

/** For a person: what broke, in which state, what that means and what to do; then a table. */
export function reportLines(report: PolicyReport): string[] {
  const { verdicts } = report;
  const of = (outcome: Outcome) => verdicts.filter((it) => it.outcome === outcome);
  return [
    ...byAssertion(of("broken")).flatMap((it) => [...brokenLines(it, report), ""]),
    ...byAssertion(of("unknown")).flatMap((it) => [...unknownLines(it), ""]),
    ...section("Not applicable to this policy:", of("not-applicable")),
    ...section("Disabled:", of("disabled")),
    ...noteLines(verdicts),
    ...filesTable(verdicts),
    "",
    ...summaryLines(report),
  ];
}

function byAssertion(verdicts: readonly AssertionVerdict[]): AssertionVerdict[][] {
  return [...Map.groupBy(verdicts, ({ assertion }) => assertion).values()];
}

/** One assertion, in all states in which it is broken. */
function brokenLines(verdicts: readonly AssertionVerdict[], report: PolicyReport): string[] {
  const { assertion: { means, hint } } = verdicts[0]!;
  const groups = describeFindings(verdicts, report);
  const more = groups.length - MOST_GROUPS;
  return [
    ...headLines("BROKEN", verdicts),
    ...groups.slice(0, MOST_GROUPS).flat().map((line) => `  ${line}`),
    ...(more > 0 ? [`  and ${more} more; --format json has all of them`] : []),
    ...(means === undefined ? [] : folded("means: ", means)),
    ...(hint === undefined ? [] : folded("hint: ", hint)),
  ];
}

function unknownLines(verdicts: readonly AssertionVerdict[]): string[] {
  const reasons = new Set(verdicts.map(({ reason }) => reason ?? ""));
  return [
    ...headLines("UNKNOWN", verdicts),
    ...[...reasons].map((reason) => `  ${reason}`),
    '  hint: A name with "?" behind it may be missing: "svirt_tcg_t?"',
  ];
}

function headLines(word: string, verdicts: readonly AssertionVerdict[]): string[] {
  const { assertion: { file, line, id, desc }, state } = verdicts[0]!;
  const shown = verdicts.length > 1
    ? ` in ${verdicts.length} states`
    : formatState(state) === ""
    ? ""
    : ` with ${formatState(state)}`;
  return [`${word} ${id}${shown}  (${file}:${line})`, `  ${desc}`];
}

/** Columns that text is folded to. */
const WIDTH = 100;

function folded(label: string, text: string): string[] {
  const lines: string[] = [];
  const indent = "  ";
  let line = indent + label.trimEnd();
  for (const word of text.split(/\s+/).filter(Boolean)) {
    if (line.length + 1 + word.length > WIDTH) {
      lines.push(line);
      line = `${indent}  ${word}`;
    } else line += ` ${word}`;
  }
  return [...lines, line];
}

function section(title: string, verdicts: readonly AssertionVerdict[]): string[] {
  if (verdicts.length === 0) return [];
  const rows = verdicts.map(({ assertion: { id }, reason }) => [`  ${id}`, oneLine(reason ?? "")]);
  return [title, ...table(rows), ""];
}

/** A row of a table is a line. */
function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, " ").trim();
}

/** Of tests that were asked: what of them was not. */
function noteLines(verdicts: readonly AssertionVerdict[]): string[] {
  const asked = verdicts.filter(({ outcome }) => outcome === "holds" || outcome === "broken");
  const rows = asked.flatMap(({ assertion: { id }, notes }) =>
    notes.map((note) => [`  ${id}`, note])
  );
  const distinct = [...new Map(rows.map((row) => [row.join("\0"), row])).values()];
  return distinct.length === 0 ? [] : ["Asked in part:", ...table(distinct), ""];
}

const COLUMNS: readonly (readonly [Outcome, string])[] = [
  ["holds", "HOLD"],
  ["broken", "BROKEN"],
  ["unknown", "UNKNOWN"],
  ["not-applicable", "NOT APPLICABLE"],
  ["disabled", "DISABLED"],
];

function filesTable(verdicts: readonly AssertionVerdict[]): string[] {
  const rows = [...Map.groupBy(verdicts, ({ assertion }) => assertion.file)].map(([file, of]) => {
    const counts = countOutcomes(of);
    return [file, ...COLUMNS.map(([outcome]) => String(counts[outcome]))];
  });
  return table([["FILE", ...COLUMNS.map(([, title]) => title)], ...rows]);
}

function summaryLines({ origin, policyVersion, verdicts, states, questions }: PolicyReport) {
  const counts = countOutcomes(verdicts);
  const assertions = new Set(verdicts.map(({ assertion }) => assertion)).size;
  const words = COLUMNS.map(([outcome, title]) => `${counts[outcome]} ${title.toLowerCase()}`);
  return [
    `${origin} (version ${policyVersion}): ${words.join(", ")}.`,
    `${number(assertions, "assertion")}, ${number(verdicts.length, "test")}, ` +
    `${number(questions, "question")} in ${number(states, "state")} of booleans`,
  ];
}

function number(count: number, what: string): string {
  // Not toLocaleString(): loading its tables takes longer than all the rest here.
  const digits = String(count).replaceAll(/\B(?=(\d{3})+$)/g, ",");
  return `${digits} ${what}${count === 1 ? "" : "s"}`;
}
