import { type Command, UsageError } from "./command.ts";
import { COMMANDS } from "./table.ts";

/** The command whose name the arguments begin with, and the rest of them. */
export function findCommand(argv: readonly string[]): { command: Command; rest: string[] } {
  for (const words of [2, 1]) {
    const name = argv.slice(0, words).join(" ");
    const command = COMMANDS.find((command) => command.name === name);
    if (command !== undefined) return { command, rest: argv.slice(words) };
  }
  const verbs = COMMANDS.map(({ name }) => name.split(" "))
    .filter(([noun, verb]) => noun === argv[0] && verb !== undefined)
    .map(([, verb]) => verb);
  if (verbs.length > 0) {
    throw new UsageError(
      argv[1] === undefined ? `${argv[0]} what?` : `There is no command "${argv[0]} ${argv[1]}"`,
      `One of: ${verbs.map((verb) => `${argv[0]} ${verb}`).join(", ")}`,
    );
  }
  throw new UsageError(`There is no command "${argv[0]}"`, "See: svirt-agent --help");
}
