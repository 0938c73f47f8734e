import { emptyState, fold } from "../audit/state.ts";
import { checkLog, formatProblem } from "../audit/check.ts";
import { describeRestorable, findRestorable, restoreFromLog } from "../operation/restore.ts";
import { type Arguments, EXIT, UsageError } from "./command.ts";
import { logPath } from "./log_path.ts";
import { openHost } from "./open_host.ts";
import type { Terminal } from "./terminal.ts";

/** Gives an image back what the log of a host, this one's or another's, says it had. */
export function run(args: Arguments, terminal: Terminal): Promise<number> {
  const path = args.operands[0]!;
  const from = args.options["from-audit"] as string | undefined;
  if (from === undefined) {
    throw new UsageError(
      "The log is missing: it has the owner, mode, ACL and label that the image had",
      "Give it: --from-audit FILE, a copy of that host's audit.jsonl",
    );
  }
  const source = logPath(args, from);
  const state = emptyState();
  const checked = checkLog(source, (record) => fold(state, record));
  if (!checked.ok) {
    terminal.err(formatProblem(source, checked));
    return Promise.resolve(EXIT.finding);
  }
  const dryRun = args.options["dry-run"] === true;
  using host = openHost(args, terminal, { announce: !dryRun });
  const found = findRestorable(path, state, host.log.state);
  if (found === undefined) {
    terminal.out(`${path}: ${source} has nothing to give back`);
    return Promise.resolve(EXIT.asExpected);
  }
  const did = dryRun ? describeRestorable(found) : restoreFromLog(found, source, host);
  for (const line of did) terminal.out(line);
  return Promise.resolve(EXIT.asExpected);
}
