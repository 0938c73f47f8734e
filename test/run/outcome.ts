import type { Finished } from "./command.ts";
import { type Counts, NONE, readCounts, readSkipped } from "./counts.ts";
import type { Step } from "./steps.ts";

/** How a step went. */
export interface Outcome {
  readonly step: Step;
  readonly seconds: number;
  readonly counts: Counts;
  /** In the runner's words, with reasons. */
  readonly skipped: readonly string[];
  /** Why the step failed; empty when all is well. */
  readonly failures: readonly string[];
  readonly output: string;
}

/** Judges a step by its exit status and by what its runner counted. Zero tests are no success. */
export function judge(step: Step, { status, output }: Finished, seconds: number): Outcome {
  const { runner } = step;
  const counts = runner === undefined ? NONE : readCounts(runner, output);
  const failures: string[] = [];
  if (typeof status === "string") failures.push(status);
  else if (status !== 0) failures.push(`exit status ${status}`);
  if (counts.failed > 0) failures.push(`${counts.failed} failed`);
  if (runner !== undefined && counts.passed + counts.failed === 0) failures.push("ran no test");
  // The lab has all that a live test can ask for.
  if (step.inLab && counts.skipped > 0) failures.push(`${counts.skipped} skipped in the lab`);
  return {
    step,
    seconds,
    // A step that failed without a failing test counts as one.
    counts: failures.length > 0 ? { ...counts, failed: Math.max(counts.failed, 1) } : counts,
    skipped: runner === undefined ? [] : readSkipped(runner, output),
    failures,
    output,
  };
}

/** `node             12.3 s  ok, 568 passed, 0 failed` */
export function outcomeLine({ step, seconds, failures }: Outcome, counted: string): string {
  const result = failures.length === 0 ? "ok" : `FAILED (${failures.join(", ")})`;
  const tests = step.runner === undefined ? "" : `, ${counted}`;
  return `${step.name.padEnd(12)} ${seconds.toFixed(1).padStart(6)} s  ${result}${tests}`;
}
