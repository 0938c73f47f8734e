import type { Command } from "./command.ts";
import { COMMANDS } from "./table.ts";
import { table } from "./terminal.ts";

/** `svirt-agent --help`. */
export function overview(): string {
  return overviewOf(COMMANDS);
}

/** `svirt-agent policy --help`; `undefined` for a word that no commands begin with. */
export function overviewOfFamily(word: string): string | undefined {
  const family = COMMANDS.filter(({ name }) => name.startsWith(`${word} `));
  return family.length === 0 ? undefined : overviewOf(family);
}

function overviewOf(commands: readonly Command[]): string {
  return [
    "svirt-agent: a guest may use the disk it was handed; it may open no image.",
    "",
    "Usage: svirt-agent COMMAND [OPTION...] [ARGUMENT...]",
    "",
    ...table(commands.map(({ name, operands, summary }) => [`  ${name} ${operands}`, summary])),
    "",
    "svirt-agent COMMAND --help tells more. Exit status: 0 as expected, 1 a finding,",
    "2 usage or configuration, 3 could not find out.",
  ].join("\n");
}

/** `svirt-agent COMMAND --help`. */
export function helpOf({ name, operands, summary, options }: Command): string {
  const rows = Object.entries(options).map(([long, { short, value, help }]) => [
    `  ${short === undefined ? "" : `-${short}, `}--${long}${
      value === undefined ? "" : ` ${value}`
    }`,
    help,
  ]);
  return [
    `svirt-agent ${name}: ${summary}`,
    "",
    `Usage: svirt-agent ${name} [OPTION...] ${operands}`.trimEnd(),
    "",
    ...table([...rows, ["  --help", "this text"]]),
  ].join("\n");
}
