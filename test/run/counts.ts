/** What a test runner said about its tests. Deno counts a file's outermost suites, not its leaves. */
export interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

/** A program whose last lines say how many tests it ran. */
export type Runner = "node" | "deno" | "bun";

export const NONE: Counts = { passed: 0, failed: 0, skipped: 0 };

/** Sums as the runners print them: Node's reporters spec and tap, `deno test`, `bun test`. */
const SUMMARIES: Readonly<Record<Runner, Readonly<Record<keyof Counts, RegExp>>>> = {
  node: {
    passed: /^(?:ℹ|#) pass (\d+)$/gm,
    // A test that was cancelled has not passed either.
    failed: /^(?:ℹ|#) (?:fail|cancelled) (\d+)$/gm,
    skipped: /^(?:ℹ|#) (?:skipped|todo) (\d+)$/gm,
  },
  deno: {
    passed: /^(?:ok|FAILED) \| (\d+) passed/gm,
    failed: /^(?:ok|FAILED) \|.*\| (\d+) failed/gm,
    skipped: /^(?:ok|FAILED) \|.*\| (\d+) ignored/gm,
  },
  bun: {
    passed: /^ (\d+) pass$/gm,
    failed: /^ (\d+) (?:fail|errors?)$/gm,
    skipped: /^ (\d+) (?:skip|todo)$/gm,
  },
};

/** Reads the summary in what a runner printed; no summary is no test. */
export function readCounts(runner: Runner, output: string): Counts {
  const { passed, failed, skipped } = SUMMARIES[runner];
  const sum = (pattern: RegExp) =>
    [...output.matchAll(pattern)].reduce((total, [, number]) => total + Number(number), 0);
  return { passed: sum(passed), failed: sum(failed), skipped: sum(skipped) };
}

/** One line for each test or suite that was skipped, with its reason where the runner prints one. */
const SKIPPED: Readonly<Record<Runner, RegExp>> = {
  node: /^\s*﹣ .*$|^\s*ok \d+ .*# SKIP.*$/gm,
  deno: /^.* \.\.\. ignored\b.*$/gm,
  bun: /^\((?:skip|todo)\) .*$/gm,
};

/** Which tests were skipped, in the runner's own words. */
export function readSkipped(runner: Runner, output: string): string[] {
  return [...output.matchAll(SKIPPED[runner])].map(([line]) => line.trim());
}

export function add(a: Counts, b: Counts): Counts {
  return {
    passed: a.passed + b.passed,
    failed: a.failed + b.failed,
    skipped: a.skipped + b.skipped,
  };
}

/** `12 passed, 0 failed`, and what was skipped if anything was. */
export function formatCounts({ passed, failed, skipped }: Counts): string {
  return `${passed} passed, ${failed} failed` + (skipped > 0 ? `, ${skipped} skipped` : "");
}
