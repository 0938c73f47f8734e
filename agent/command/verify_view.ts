import type { CanaryReport, CanaryWitness } from "../verify/canary_report.ts";
import type { GuestVerdict } from "../verify/guest.ts";
import type { Provoked } from "../verify/provoke.ts";
import type { Attempt } from "../verify/through_guest.ts";
import type { Verdict } from "../verify/verdict.ts";
import { table } from "./terminal.ts";

/** What the agent that guards a guest answered about it. */
export type Answered = GuestVerdict & {
  readonly name: string;
  /** Through the guest's own QEMU. */
  readonly attempts: readonly Attempt[];
};

const COLUMNS: readonly (keyof Verdict)[] = ["dup", "open", "read", "write", "map"];

/** One guest's verdict as a table, and what was provoked below it. */
export function verdictLines({ name, pid, context, ...guest }: Answered): string[] {
  const hasCanary = guest.canary !== undefined;
  const header = [
    "IMAGE",
    ...COLUMNS.map((key) => key.toUpperCase()),
    ...(hasCanary ? ["CANARY"] : []),
    "GRADE",
    "",
    "LABEL",
  ];
  const rows = guest.verdicts.map(({ image, verdict, asExpected, label, grade, witnesses }) => [
    image,
    ...COLUMNS.map((key) => `${verdict[key].answer} (${verdict[key].by})`),
    ...(hasCanary ? [canaryCell(witnesses.canary)] : []),
    grade ?? "",
    asExpected ? "ok" : "NOT AS EXPECTED",
    label,
  ]);
  return [
    `${name}: pid ${pid}, ${context}`,
    ...table([header, ...rows]),
    ...guest.problems.map((problem) => `  NOT AS EXPECTED: ${problem}`),
    ...guest.verdicts.flatMap(({ differences }) =>
      differences.map(({ text }) => `  NOT AS EXPECTED: ${text}`)
    ),
    ...guest.hints.map((hint) => `  hint: ${hint}`),
    ...(guest.attempts.length > 0
      ? [
        "through the guest's own QEMU:",
        ...table(guest.attempts.map((it) => attemptRow(it, [`${it.by} ${it.path}`]))),
      ]
      : []),
    ...(guest.canary === undefined ? [] : canaryLines(guest.canary)),
  ];
}

function canaryCell(witness: CanaryWitness | undefined): string {
  if (witness === undefined) return "not tried";
  return COLUMNS.flatMap((key) => witness[key] ? [`${key} ${witness[key].answer}`] : []).join(", ");
}

function canaryLines({ pid, context, time, attempts }: CanaryReport): string[] {
  return [
    `canary, a QEMU without a machine in the guest's context, with files of its own ` +
    `(pid ${pid}, ${context}, ${time}); map is asked of the policy alone:`,
    ...table(attempts.map((it) => attemptRow(it, [it.state, `${it.by} ${it.path}`]))),
    ...(attempts.some(({ state }) => state === "unlabelled") &&
        !attempts.some(({ state }) => state === "fenced")
      ? ["  not tried where no labels are kept: writing after revocation; no grade rests on it"]
      : []),
  ];
}

function attemptRow(
  { asExpected, decision, avc, said }: Provoked & { readonly asExpected: boolean },
  what: readonly string[],
): string[] {
  return [
    `  ${asExpected ? "ok" : "NOT AS EXPECTED"}`,
    `${decision.answer} (${decision.by})`,
    avc === undefined ? "" : `AVC ${avc.serial} { ${avc.denied.join(" ")} }`,
    ...what,
    said ?? "",
  ];
}
