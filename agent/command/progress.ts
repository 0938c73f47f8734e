import type { Terminal } from "./terminal.ts";

/** Milliseconds after which somebody who waits is told how far it is, and between two such lines. */
const PATIENCE = 2000;

/**
 * Tells somebody who waits how far the work is, until it is done: `questions asked: 3 of 5`; without an
 * `of` where nobody knows how much there is.
 */
export function progress(
  terminal: Pick<Terminal, "err">,
): (done: number, of: number | undefined, what: string) => void {
  let told = performance.now();
  return (done, of, what) => {
    if (done === of || performance.now() - told < PATIENCE) return;
    told = performance.now();
    terminal.err(`${what}: ${done}${of === undefined ? "" : ` of ${of}`}`);
  };
}
