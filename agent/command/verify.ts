import type { GuestVerdict } from "../verify/guest.ts";
import type { Change } from "../verify/change.ts";
import type { Attempt } from "../verify/through_guest.ts";
import { type Arguments, EXIT } from "./command.ts";
import { askGuard } from "./control.ts";
import type { Terminal } from "./terminal.ts";
import { type Answered, verdictLines } from "./verify_view.ts";
import { watch } from "./verify_watch.ts";

/** Asks the agents that guard the guests for their verdicts, once or whenever one may have changed. */
export async function run(args: Arguments, terminal: Terminal): Promise<number> {
  if (args.options["watch"] !== true) return show(args, terminal, await askAll(args, true));
  return await watch({
    ask: (provoking) => askAll(args, provoking),
    show: (changes, guests) => show(args, terminal, guests, changes),
  }, terminal);
}

function show(
  { options }: Arguments,
  terminal: Terminal,
  guests: readonly Answered[],
  changes?: readonly Change[],
): number {
  const asExpected = guests.every(isAsExpected);
  if (options["json"] === true) {
    const document = { schemaVersion: 1, ...(changes && { changes }), guests, asExpected };
    // Watching: one document a line.
    terminal.out(JSON.stringify(document, null, changes === undefined ? 2 : undefined));
  } else {
    if (changes !== undefined) terminal.clear?.();
    for (const { time, text } of changes ?? []) terminal.out(`${time} ${text}`);
    for (const guest of guests) for (const line of verdictLines(guest)) terminal.out(line);
  }
  return asExpected ? EXIT.asExpected : EXIT.finding;
}

/** @param provoking Does what the options say; else nothing is tried that the kernel would record. */
async function askAll(args: Arguments, provoking: boolean): Promise<Answered[]> {
  const { options, operands } = args;
  const wants = {
    throughGuest: provoking && options["through-guest"] === true,
    others: options["other"] as string[] | undefined ?? [],
    canary: provoking && options["canary"] === true,
  };
  const guests = [];
  for (const name of operands) {
    const reply = await askGuard(args, name, "Verify", wants);
    const attempts = (reply["attempts"] ?? []) as Attempt[];
    guests.push({ name, ...reply["verdict"] as GuestVerdict, attempts });
  }
  return guests;
}

function isAsExpected({ asExpected, attempts }: Answered): boolean {
  return asExpected && attempts.every((attempt) => attempt.asExpected);
}
