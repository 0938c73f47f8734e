#!/usr/bin/env node
import { EXIT, UsageError } from "./command/command.ts";
import { exitStatusOf } from "./command/exit_status.ts";
import { helpOf, overview, overviewOfFamily } from "./command/help.ts";
import { findCommand } from "./command/find.ts";
import { terminal } from "./command/terminal.ts";

/**
 * What was typed. Help is there at once: until a command runs nothing touches `process`, whose first
 * use costs Deno 50 ms, `process.stdout`, which costs Bun 20, or node:util.
 */
function typed(): readonly string[] {
  const { Deno } = globalThis as { Deno?: { readonly args: readonly string[] } };
  return Deno?.args ?? process.argv.slice(2);
}

async function main(argv: readonly string[]): Promise<number> {
  if (argv.length === 0) {
    throw new UsageError("What is to be done?", "See: svirt-agent --help");
  }
  if (argv[0] === "help" || asksForHelp(argv.slice(0, 1))) {
    console.log(overview());
    return EXIT.asExpected;
  }
  const family = asksForHelp(argv.slice(1, 2)) ? overviewOfFamily(argv[0]!) : undefined;
  if (family !== undefined) {
    console.log(family);
    return EXIT.asExpected;
  }
  const { command, rest } = findCommand(argv);
  if (asksForHelp(rest)) {
    console.log(helpOf(command));
    return EXIT.asExpected;
  }
  const { parse } = await import("./command/parse.ts");
  const args = parse(command, rest);
  const { run } = await command.load();
  return await run(args, terminal);
}

function asksForHelp(words: readonly string[]): boolean {
  return words.includes("--help") || words.includes("-h");
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
  const status = await main(typed());
  if (status !== EXIT.asExpected) process.exitCode = status;
} catch (error) {
  explain(error as Error);
  process.exitCode = exitStatusOf(error as Error);
}
