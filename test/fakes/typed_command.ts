import { findCommand } from "../../agent/command/find.ts";
import { parse } from "../../agent/command/parse.ts";

/** What a command printed, and its exit status. */
export interface Printed {
  readonly status: number;
  readonly lines: readonly string[];
  readonly errors: readonly string[];
}

/** Runs a command as if it were typed, in this process. */
export async function typed(...argv: readonly string[]): Promise<Printed> {
  const { command, rest } = findCommand(argv);
  const [lines, errors]: string[][] = [[], []];
  const terminal = {
    out: (text: string) => lines!.push(...text.split("\n")),
    err: (text: string) => errors!.push(...text.split("\n")),
    clear: () => {},
  };
  const { run } = await command.load();
  return { status: await run(parse(command, rest), terminal), lines: lines!, errors: errors! };
}
