import { parseArgs } from "node:util";
import { type Arguments, type Command, UsageError } from "./command.ts";
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

/** @throws {@linkcode UsageError} for an unknown option or a wrong number of operands. */
export function parse(command: Command, rest: readonly string[]): Arguments {
  const hint = `See: svirt-agent ${command.name} --help`;
  let parsed;
  try {
    parsed = parseArgs({
      args: [...rest],
      options: { ...command.options },
      allowPositionals: true,
      strict: true,
    });
  } catch (error) {
    throw new UsageError((error as Error).message.split(". ")[0]!, hint);
  }
  const words = command.operands.split(" ").filter(Boolean);
  const least = words.filter((word) => !word.startsWith("[")).length;
  const most = words.some((word) => word.includes("...")) ? Infinity : words.length;
  const { length } = parsed.positionals;
  if (length < least || length > most) {
    const wanted = words.length === 0 ? "no arguments" : command.operands;
    throw new UsageError(`svirt-agent ${command.name} takes ${wanted}; ${length} were given`, hint);
  }
  return { options: parsed.values, operands: parsed.positionals };
}
