import { bundledFiles } from "../policy/assertion/bundled.ts";
import { readAssertions } from "../policy/assertion/parse.ts";
import { comparePolicies, differs } from "../policy/diff/compare_policies.ts";
import { type Arguments, EXIT } from "./command.ts";
import { booleansOf, openPolicyFile } from "./open_policy.ts";
import { progress } from "./progress.ts";
import { diffDocument, diffLines } from "./policy_diff_view.ts";
import type { Terminal } from "./terminal.ts";

/** Says what one policy allows and another does not. */
export function run({ operands, options }: Arguments, terminal: Terminal): Promise<number> {
  const [old, now, ...files] = operands as [string, string, ...string[]];
  const assertions = readAssertions(files.length > 0 ? files : bundledFiles());
  using before = openPolicyFile(old);
  using after = openPolicyFile(now);
  const given = options["boolean"];
  const diff = comparePolicies([before, after], assertions, {
    fixed: [booleansOf(given, before), booleansOf(given, after)],
    all: options["all"] === true,
    onProgress: progress(terminal),
  });
  if (options["json"] === true) terminal.out(JSON.stringify(diffDocument(diff), null, 2));
  else for (const line of diffLines(diff)) terminal.out(line);
  if (differs(diff)) return Promise.resolve(EXIT.finding);
  const unknown = diff.reports.some(({ verdicts }) =>
    verdicts.some(({ outcome }) => outcome === "unknown")
  );
  return Promise.resolve(unknown ? EXIT.unknown : EXIT.asExpected);
}
