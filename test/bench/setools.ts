import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseContext } from "../../agent/label/context.ts";
import { OfflinePolicy } from "../../agent/policy/offline.ts";
import { PROJECT } from "../lab/project.ts";
import { compare, type Row } from "./compare.ts";
import { Contender, runtimeCommand, runtimes } from "./contestant.ts";
import type { Bench } from "./measurement.ts";
import { MissingError } from "./peer.ts";
import { largestPolicy, randomQuestions } from "./questions.ts";

const ASSERTIONS = 10_000;
/** setools goes through every rule for each question: it is asked so many of them, in each round. */
const SAMPLE = 5;
const ROUNDS = { warmUp: 0, rounds: 3 };
/** Debian's python3-setools is of this Python, whatever comes first on PATH. */
const PYTHON = "/usr/bin/python3";

/**
 * 10,000 assertions, by the product with constraints, beside setools, which has none: its Python API
 * with the policy loaded once, and one process of sesearch for each.
 */
export async function measureSetools({ folder, compiled, say }: Bench): Promise<Row[]> {
  const sesearch = spawnSync("sesearch", ["--version"]).status;
  if (sesearch !== 0 || spawnSync(PYTHON, ["-c", "import setools"]).status !== 0) {
    throw new MissingError("there is no setools (Debian: setools, python3-setools)");
  }
  const file = largestPolicy();
  const questions = randomQuestions(OfflinePolicy.read(file).db, ASSERTIONS);
  const [node] = runtimes();
  const json = join(folder, "questions.json");
  writeFileSync(json, JSON.stringify(questions));
  const words = questions.map(({ source, target, tclass }) =>
    [parseContext(source).type, parseContext(target).type, tclass] as const
  );
  const text = join(folder, "questions.txt");
  writeFileSync(text, words.map((it) => it.join(" ")).join("\n"));
  const ours = runtimeCommand(node!, "test/bench/ours/policy.ts", compiled);
  using us = Contender.start([...ours, file, json], node!.name);
  const script = join(PROJECT, "test/bench/peer/ask_setools.py");
  using api = Contender.start([PYTHON, script, file, text], "ask_setools.py");
  const each = { round: async () => (await us.ask("queries"))[0]! / ASSERTIONS };
  say(`setools' API, ${SAMPLE} of ${ASSERTIONS} assertions in each round`);
  const bar = (peer: string) => ({ name: `assertion, ${peer}`, unit: "us", bar: 1 }) as const;
  const beside = { round: async () => (await api.ask(String(SAMPLE)))[0]! / SAMPLE };
  const withApi = await compare(bar("setools API"), each, beside, ROUNDS);
  say("one sesearch for an assertion");
  let next = 0;
  const process = {
    round: () => {
      const [source, target, tclass] = words[next++ % words.length]!;
      const start = performance.now();
      const args = ["-A", "-s", source, "-t", target, "-c", tclass, file];
      if (spawnSync("sesearch", args).status !== 0) throw new Error("sesearch failed");
      return Promise.resolve((performance.now() - start) * 1000);
    },
  };
  return [withApi, await compare(bar("sesearch"), each, process, ROUNDS)];
}
