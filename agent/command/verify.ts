import type { GuestVerdict } from "../verify/guest.ts";
import type { Attempt } from "../verify/through_guest.ts";
import { type Arguments, EXIT } from "./command.ts";
import { askGuard } from "./control.ts";
import type { Terminal } from "./terminal.ts";
import { type Answered, verdictLines } from "./verify_view.ts";

/** Asks the agents that guard the guests for their verdicts. */
export async function run(args: Arguments, terminal: Terminal): Promise<number> {
  const guests = await askAll(args, true);
  const asExpected = guests.every(isAsExpected);
  if (args.options["json"] === true) {
    terminal.out(JSON.stringify({ schemaVersion: 1, guests, asExpected }, null, 2));
  } else {
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
