/** What the line of stdout begins with in which {@link ./transaction.ts} answers, in JSON. */
export const ANSWER = "answer ";

/** Finds the answer; `undefined` when the process ended before it gave one. */
export function readAnswer(stdout: string): unknown {
  // What follows the last newline may be cut off.
  const line = stdout.split("\n").slice(0, -1).find((line) => line.startsWith(ANSWER));
  return line === undefined ? undefined : JSON.parse(line.slice(ANSWER.length));
}
