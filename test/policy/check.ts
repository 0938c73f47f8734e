import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { evaluate, type EvaluateOptions } from "../../agent/policy/assertion/evaluate.ts";
import { readAssertions } from "../../agent/policy/assertion/parse.ts";
import type { Assertion } from "../../agent/policy/assertion/assertion.ts";
import { formatState, type PolicyReport } from "../../agent/policy/assertion/verdict.ts";
import type { PolicyEngine } from "../../agent/policy/engine.ts";

/** Reads assertions that a test wrote down. */
export function assertionsOf(text: string): Assertion[] {
  const folder = mkdtempSync(join(tmpdir(), "assertions-"));
  try {
    const file = join(folder, "a.toml");
    writeFileSync(file, text);
    return readAssertions([file]);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** What one assertion that is all but its id and description comes to. */
export function check(text: string, engine: PolicyEngine, options?: EvaluateOptions): PolicyReport {
  const whole = `[[assertion]]\nid = "a"\ndesc = "d"\n${text}`;
  return evaluate(assertionsOf(whole), engine, options);
}

/** A verdict a line: its state and outcome, and why where there is a reason. */
export function outcomes({ verdicts }: PolicyReport): string[] {
  return verdicts.map(({ state, outcome, reason }) =>
    [formatState(state), outcome, reason].filter(Boolean).join(" | ")
  );
}

/** What was not as an assertion says: `guest_t image_t file open: allowed`. */
export function findings({ verdicts }: PolicyReport): string[] {
  const type = (context: string) => context.split(":")[2];
  return verdicts.flatMap((verdict) =>
    verdict.findings.map((it) =>
      `${type(it.source)} ${type(it.target)} ${it.tclass} ${it.permission}: ${it.decision.answer}`
    )
  );
}
