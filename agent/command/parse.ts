import { parseArgs } from "node:util";
import { type Arguments, type Command, UsageError } from "./command.ts";

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
