import type { GuestVerdict } from "../verify/guest.ts";
import type { Attempt } from "../verify/through_guest.ts";
import type { Verdict } from "../verify/verdict.ts";
import { type Arguments, EXIT } from "./command.ts";
import { askGuard } from "./control.ts";
import { table, type Terminal } from "./terminal.ts";

/** Asks the agents that guard the guests for their verdicts. */
export async function run(args: Arguments, terminal: Terminal): Promise<number> {
  const throughGuest = args.options["through-guest"] === true;
  const others = args.options["other"] as string[] | undefined ?? [];
  let asExpected = true;
  const guests = [];
  for (const name of args.operands) {
    const reply = await askGuard(args, name, "Verify", { throughGuest, others });
    const verdict = reply["verdict"] as GuestVerdict;
    const attempts = (reply["attempts"] ?? []) as Attempt[];
    asExpected &&= verdict.asExpected && attempts.every((attempt) => attempt.asExpected);
    guests.push({ name, ...verdict, attempts });
  }
  if (args.options["json"] === true) {
    terminal.out(JSON.stringify({ schemaVersion: 1, guests, asExpected }, null, 2));
  } else {
    for (const guest of guests) for (const line of lines(guest)) terminal.out(line);
  }
  return asExpected ? EXIT.asExpected : EXIT.finding;
}

const COLUMNS: readonly (keyof Verdict)[] = ["dup", "open", "read", "write", "map"];

function lines(guest: GuestVerdict & { name: string; attempts: readonly Attempt[] }): string[] {
  const header = ["IMAGE", ...COLUMNS.map((key) => key.toUpperCase()), "GRADE", "", "LABEL"];
  const rows = guest.verdicts.map(({ image, verdict, asExpected, label, grade }) => [
    image,
    ...COLUMNS.map((key) => `${verdict[key].answer} (${verdict[key].by})`),
    grade ?? "",
    asExpected ? "ok" : "NOT AS EXPECTED",
    label,
  ]);
  const attempts = guest.attempts.map(({ by, path, decision, asExpected, avc, said }) => [
    `  ${asExpected ? "ok" : "NOT AS EXPECTED"}`,
    decision.answer,
    avc === undefined ? "" : `AVC ${avc.serial} { ${avc.denied.join(" ")} }`,
    `${by} ${path}`,
    said ?? "",
  ]);
  return [
    `${guest.name}: pid ${guest.pid}, ${guest.context}`,
    ...table([header, ...rows]),
    ...guest.problems.map((problem) => `  NOT AS EXPECTED: ${problem}`),
    ...guest.verdicts.flatMap(({ differences }) =>
      differences.map(({ text }) => `  NOT AS EXPECTED: ${text}`)
    ),
    ...guest.hints.map((hint) => `  hint: ${hint}`),
    ...(attempts.length > 0 ? ["through the guest's own QEMU:", ...table(attempts)] : []),
  ];
}
