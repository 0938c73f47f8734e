import { bundledFiles } from "../policy/assertion/bundled.ts";
import { evaluate } from "../policy/assertion/evaluate.ts";
import { readAssertions } from "../policy/assertion/parse.ts";
import { countOutcomes, type PolicyReport } from "../policy/assertion/verdict.ts";
import { type Arguments, EXIT } from "./command.ts";
import { booleansOf, openPolicy } from "./open_policy.ts";
import { reportLines } from "./policy_test_view.ts";
import type { Terminal } from "./terminal.ts";

/** Checks a policy against files of assertions, or against the invariants of sVirt. */
export function run({ operands, options }: Arguments, terminal: Terminal): Promise<number> {
  const files = operands.length > 0 ? operands : bundledFiles();
  const assertions = readAssertions(files);
  using engine = openPolicy(options["policy"]);
  const fixed = booleansOf(options["boolean"], engine);
  const report = evaluate(assertions, engine, { fixed });
  for (const line of reportLines(report)) terminal.out(line);
  return Promise.resolve(exitStatus(report));
}

/** A broken assertion says more than one that could not be asked. */
function exitStatus({ verdicts }: PolicyReport): number {
  const { broken, unknown } = countOutcomes(verdicts);
  return broken > 0 ? EXIT.finding : unknown > 0 ? EXIT.unknown : EXIT.asExpected;
}
