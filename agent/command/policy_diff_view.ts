import { describeFindings } from "../policy/assertion/describe.ts";
import { formatState, type PolicyReport } from "../policy/assertion/verdict.ts";
import type { AssertionChange } from "../policy/diff/compare_assertions.ts";
import { differs, type PolicyDiff } from "../policy/diff/compare_policies.ts";
import type { LoneName } from "../policy/diff/compare_symbols.ts";
import type { Answers, Direction } from "../policy/diff/difference.ts";
import { inWords, wordOf } from "../policy/boolean_words.ts";
import { formatRule } from "../policy/rule_index.ts";
import type { ChangeGroup } from "../policy/diff/group_changes.ts";

/** For a person: assertions first, then what guests gained, then what they lost, then names. */
export function diffLines(diff: PolicyDiff): string[] {
  const { policies: [before, after], assertions, names, booleans, guests, reports } = diff;
  const { accesses = [], ioctls = [] } = guests ?? {};
  return [
    ...sameWay(assertions).flatMap((changes) => [...assertionLines(changes, reports), ""]),
    ...accesses.flatMap((group) => [...accessLines(group), ""]),
    ...ioctls.flatMap(({ source, target, tclass, before, after }) => [
      `CHANGED: ioctl(2) commands of ${source} on ${target}:${tclass}`,
      `  - ${before ?? "every command, no rule lists any"}`,
      `  + ${after ?? "every command, no rule lists any"}`,
      "",
    ]),
    ...nameLines(names),
    ...booleans.map(({ name, before, after }) =>
      `boolean ${name} is ${wordOf(after)}, it was ${wordOf(before)}`
    ),
    ...names.length + booleans.length > 0 ? [""] : [],
    ...unknownLines(diff),
    `${before.origin} -> ${after.origin}: ${sumOf(diff)}`,
  ];
}

function sumOf(diff: PolicyDiff): string {
  const { assertions, names, booleans, guests } = diff;
  if (!differs(diff)) {
    return `nothing changed${unknownLines(diff).length > 0 ? " that could be found out" : ""}`;
  }
  const accesses = guests?.accesses ?? [];
  const counts = [
    [assertions.length, "verdict"],
    ...ORDER.map((it) => {
      const n = accesses.filter(({ direction }) => direction === it).length;
      return [n, `access ${WORDS[it].toLowerCase()}`] as const;
    }),
    [guests?.ioctls.length ?? 0, "list of ioctl commands"],
    [names.length, "name"],
    [booleans.length, "boolean"],
  ] as const;
  return counts.filter(([n]) => n > 0).map(([n, what]) => `${n} x ${what}`).join(", ");
}

/** What nobody could tell of either policy. */
function unknownLines({ reports }: PolicyDiff): string[] {
  const ids = reports.flatMap(({ verdicts }) =>
    verdicts.filter(({ outcome }) => outcome === "unknown").map(({ assertion: { id } }) => id)
  );
  if (ids.length === 0) return [];
  return [`unknown: ${some([...new Set(ids)])}; why says: svirt-agent policy test --policy FILE`];
}

/** `--json`; its schema is version 1. */
export function diffDocument(diff: PolicyDiff): Record<string, unknown> {
  const { policies: [before, after], assertions, names, booleans, guests } = diff;
  return {
    schemaVersion: 1,
    old: before.origin,
    new: after.origin,
    assertions: assertions.map(({ assertion, state, before, after, gone, appeared }) => ({
      id: assertion.id,
      desc: assertion.desc,
      file: assertion.file,
      line: assertion.line,
      state: inWords(state),
      before,
      after,
      direction: directionOfVerdict({ gone, appeared }),
      gone: findingsIn(gone, diff.reports[0]),
      appeared: findingsIn(appeared, diff.reports[1]),
    })),
    names,
    booleans: booleans.map(({ name, before, after }) => ({
      name,
      before: wordOf(before),
      after: wordOf(after),
    })),
    ...guests !== undefined && {
      guests: {
        types: guests.types,
        accesses: guests.accesses.map(({ items, state, ...group }) => ({
          ...group,
          state: inWords(state),
          items: items.map(({ tclass, ...item }) => ({ class: tclass, ...item })),
        })),
        ioctls: guests.ioctls.map(({ tclass, ...change }) => ({ class: tclass, ...change })),
      },
    },
  };
}

function findingsIn(
  { findings, state }: AssertionChange["appeared"],
  report: PolicyReport,
) {
  return findings.map((finding) => {
    const { source, target, tclass, permission, expected, decision, permissive } = finding;
    const { rules } = report.explain(finding, state);
    const { answer } = decision;
    const what = { source, target, class: tclass, permission, expected, answer, permissive };
    return { ...what, rules: rules.map(formatRule) };
  });
}

const ORDER: readonly Direction[] = ["looser", "mixed", "tighter", "new-type", "lost-type"];
const WORDS: Readonly<Record<Direction, string>> = {
  looser: "LOOSER",
  mixed: "LOOSER AND TIGHTER",
  tighter: "TIGHTER",
  "new-type": "ONLY IN NEW",
  "lost-type": "ONLY IN OLD",
};

/** More allowed, or less? What is unknown to one policy is neither. */
function directionOfVerdict(
  { gone, appeared }: Pick<AssertionChange, "gone" | "appeared">,
): string {
  const allows = (it: AssertionChange["gone"], expected: "allowed" | "denied") =>
    it.findings.some((it) => it.expected === expected && it.decision.answer !== "unknown");
  const looser = allows(appeared, "denied") || allows(gone, "allowed");
  const tighter = allows(appeared, "allowed") || allows(gone, "denied");
  if (looser && tighter) return "mixed";
  return looser ? "looser" : tighter ? "tighter" : "other";
}

/** Of one assertion, all states in which the same happened to it. */
function sameWay(changes: readonly AssertionChange[]): AssertionChange[][] {
  return [
    ...Map.groupBy(changes, (change) => {
      const { assertion: { id }, before, after } = change;
      return `${id} ${before} ${after} ${directionOfVerdict(change)}`;
    }).values(),
  ];
}

function assertionLines(
  changes: readonly AssertionChange[],
  [before, after]: PolicyDiff["reports"],
): string[] {
  const [first] = changes as [AssertionChange];
  const { id, desc, file, line, means } = first.assertion;
  const word = WORDS[directionOfVerdict(first) as Direction] ?? "CHANGED";
  const state = formatState(first.state);
  const where = changes.length > 1
    ? ` in ${changes.length} states`
    : state === ""
    ? ""
    : ` with ${state}`;
  return [
    `${word} ${id}${where}: ${first.before} -> ${first.after}  (${file}:${line})`,
    `  ${desc}`,
    ...findingLines("-", changes.map(({ gone }) => gone), before),
    ...findingLines("+", changes.map(({ appeared }) => appeared), after),
    ...first.after === "broken" && means !== undefined ? [`  means: ${means}`] : [],
  ];
}

/** Of what the same assertion found that many groups are shown; JSON has all. */
const MOST_GROUPS = 6;

function findingLines(
  sign: string,
  verdicts: readonly AssertionChange["gone"][],
  report: PolicyReport,
): string[] {
  const reasons = new Set(verdicts.flatMap(({ reason }) => reason ?? []));
  const groups = describeFindings(verdicts, report);
  const more = groups.length - MOST_GROUPS;
  return [
    ...[...reasons].map((reason) => `  ${sign} ${reason}`),
    ...groups.slice(0, MOST_GROUPS).flatMap(([first, ...rest]) => [
      `  ${sign} ${first}`,
      ...rest.map((line) => `  ${line}`),
    ]),
    ...more > 0 ? [`  ${sign} and ${more} more; --json has all of them`] : [],
  ];
}

function accessLines(group: ChangeGroup): string[] {
  const { direction, sources, items, before, after, state, removed, added } = group;
  const values = formatState(state);
  const causes = removed.length + added.length;
  return [
    `${WORDS[direction]}: ${sources.join(", ")}${values === "" ? "" : ` with ${values}`}: ` +
    `${answersText(before, after)}${causes === 0 ? ", by a constraint" : ""}`,
    ...items.map(({ targets, tclass, permissions }) =>
      `  ${tclass} { ${permissions.join(" ")} } of ${some(targets)}`
    ),
    ...removed.map((rule) => `  - ${rule}`),
    ...added.map((rule) => `  + ${rule}`),
  ];
}

/** `denied -> allowed for same-categories, no-categories`. */
function answersText(before: Answers, after: Answers): string {
  const changed = Object.keys(before).filter((it) => before[it] !== after[it]);
  const texts = Map.groupBy(changed, (it) => `${before[it]} -> ${after[it]}`);
  return [...texts].map(([text, relations]) => `${text} for ${relations.join(", ")}`).join("; ");
}

/** Of several names that many are shown; JSON has all. */
const NAMED = 12;

function some(names: readonly string[]): string {
  const more = names.length - NAMED;
  return names.slice(0, NAMED).join(", ") + (more > 0 ? ` and ${more} more` : "");
}

function nameLines(names: readonly LoneName[]): string[] {
  const groups = Map.groupBy(names, ({ kind, only }) => `${kind} ${only}`);
  return [...groups.values()].map((of) => {
    const { kind, only } = of[0]!;
    const all = of.map(({ name }) => name);
    return `${kind}${of.length === 1 ? "" : "s"} only in ${only}: ${some(all)}`;
  }).map((line) => line.replace("classs ", "classes "));
}
