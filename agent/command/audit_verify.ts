import { checkLog, formatProblem } from "../audit/check.ts";
import { type Arguments, EXIT } from "./command.ts";
import { logPath } from "./log_path.ts";
import type { Terminal } from "./terminal.ts";

/** Checks the chain of a log; a broken one is named like a compiler names an error. */
export function run(args: Arguments, terminal: Terminal): Promise<number> {
  const path = logPath(args, args.operands[0]);
  const checked = checkLog(path);
  if (args.options["json"] === true) {
    terminal.out(JSON.stringify({ schemaVersion: 1, file: path, ...checked }, null, 2));
  } else if (checked.ok) {
    terminal.out(`${path}: ok, ${checked.records} records, head ${checked.head}`);
    for (const { line, text } of checked.notes) terminal.err(`${path}:${line}: note: ${text}`);
  } else {
    terminal.out(formatProblem(path, checked));
  }
  return Promise.resolve(checked.ok ? EXIT.asExpected : EXIT.finding);
}
