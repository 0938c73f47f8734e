/** `policy.ts FILE QUESTIONS|LIST`: asks a policy, which is loaded once. A line is `queries` or `matrix`. */

import { readFileSync } from "node:fs";
import { parseList } from "../../../agent/policy/matrix/list_file.ts";
import { makeMatrix } from "../../../agent/policy/matrix/matrix.ts";
import type { Question } from "../../../agent/policy/engine.ts";
import { OfflinePolicy } from "../../../agent/policy/offline.ts";
import { serve } from "./serve.ts";

const [, , file, input] = process.argv as [string, string, string, string];
const engine = OfflinePolicy.read(file);
const text = readFileSync(input, "utf8");

const WORK: Readonly<Record<string, () => () => unknown>> = {
  queries: () => {
    const questions: readonly Question[] = JSON.parse(text);
    return () => engine.ask(questions);
  },
  matrix: () => {
    const parties = parseList(input, text);
    return () => makeMatrix(parties, ["open", "read", "write"], engine);
  },
};
const made = new Map<string, () => unknown>();

serve((line) => {
  const work = made.get(line) ?? WORK[line]!();
  made.set(line, work);
  const start = process.hrtime.bigint();
  work();
  return Promise.resolve([Number(process.hrtime.bigint() - start) / 1000]);
});
