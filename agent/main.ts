#!/usr/bin/env node
import { EXIT, UsageError } from "./command/command.ts";
import { exitStatusOf } from "./command/exit_status.ts";
import { helpOf, overview } from "./command/help.ts";
import { findCommand, parse } from "./command/parse.ts";
import { terminal } from "./command/terminal.ts";

async function main(argv: readonly string[]): Promise<number> {
  if (argv.length === 0) {
    throw new UsageError("What is to be done?", "See: svirt-agent --help");
  }
  if (argv[0] === "--help" || argv[0] === "-h" || argv[0] === "help") {
    terminal.out(overview());
    return EXIT.asExpected;
  }
  const { command, rest } = findCommand(argv);
  if (rest.includes("--help") || rest.includes("-h")) {
    terminal.out(helpOf(command));
    return EXIT.asExpected;
  }
  const args = parse(command, rest);
  const { run } = await command.load();
  return await run(args, terminal);
}

function explain(error: Error & { hint?: string }): void {
  terminal.err(`svirt-agent: ${error.message}`);
  if (error.hint !== undefined) terminal.err(`  hint: ${error.hint}`);
  if (error.cause instanceof Error) {
    terminal.err(`svirt-agent: and undoing it failed: ${error.cause.message}`);
    terminal.err("  hint: Once that is mended: svirt-agent guest recover GUEST");
  }
  if (process.env["SVIRT_AGENT_DEBUG"] !== undefined) terminal.err(String(error.stack));
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  explain(error as Error);
  process.exitCode = exitStatusOf(error as Error);
}
