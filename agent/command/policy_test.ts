import { bundledFiles } from "../policy/assertion/bundled.ts";
import { evaluate } from "../policy/assertion/evaluate.ts";
import { readAssertions } from "../policy/assertion/parse.ts";
import { countOutcomes, type PolicyReport } from "../policy/assertion/verdict.ts";
import { either } from "../config/schema.ts";
import { type Arguments, EXIT, type OptionValue, UsageError } from "./command.ts";
import { booleansOf, openPolicy } from "./open_policy.ts";
import { progress } from "./progress.ts";
import { reportLines } from "./policy_test_view.ts";
import type { Terminal } from "./terminal.ts";

type Format = (report: PolicyReport) => string;

/** Loaded when it is used. */
const FORMATS: Readonly<Record<string, () => Promise<Format>>> = {
  text: () => Promise.resolve((report) => reportLines(report).join("\n")),
  tap: async () => (await import("../report/tap.ts")).tap,
  json: async () => (await import("../report/policy_json.ts")).policyJson,
  junit: async () => (await import("../report/junit.ts")).junit,
  sarif: async () => (await import("../report/sarif.ts")).sarif,
};

/** Checks a policy against files of assertions, or against the invariants of sVirt. */
export async function run({ operands, options }: Arguments, terminal: Terminal): Promise<number> {
  const format = await formatOf(options["format"]);
  const files = operands.length > 0 ? operands : bundledFiles();
  const assertions = readAssertions(files);
  using engine = openPolicy(options["policy"]);
  const fixed = booleansOf(options["boolean"], engine);
  const tell = progress(terminal);
  const report = evaluate(assertions, engine, {
    fixed,
    onProgress: (done, of) => tell(done, of, "questions asked"),
  });
  terminal.out(format(report));
  return exitStatus(report);
}

function formatOf(given: OptionValue): Promise<Format> {
  const name = String(given ?? "text");
  if (Object.hasOwn(FORMATS, name)) return FORMATS[name]!();
  throw new UsageError(
    `--format "${name}" is not known`,
    `Say ${either(Object.keys(FORMATS))}`,
  );
}

/** A broken assertion says more than one that could not be asked. */
function exitStatus({ verdicts }: PolicyReport): number {
  const { broken, unknown } = countOutcomes(verdicts);
  return broken > 0 ? EXIT.finding : unknown > 0 ? EXIT.unknown : EXIT.asExpected;
}
