import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { PolicyDb } from "../../agent/policy/binary/policydb.ts";
import type { Question } from "../../agent/policy/engine.ts";
import { OfflinePolicy } from "../../agent/policy/offline.ts";
import { compare, type Row } from "./compare.ts";
import { Contender, runtimeCommand, runtimes } from "./contestant.ts";
import type { Bench } from "./measurement.ts";
import { compilePeer } from "./peer.ts";
import { largestPolicy, randomQuestions } from "./questions.ts";

const ROUNDS = { warmUp: 5, rounds: 31 };
const QUERIES = 5000;
const GUESTS = 100;
const IMAGES = 1000;

/**
 * Questions to a policy, and the matrix of guests and images, beside the same calls of libsepol in C.
 * The policy is loaded once on both sides. For the matrix C asks each pair of contexts once, of which
 * the product finds that most are alike.
 */
export async function measurePolicy({ folder, compiled, say }: Bench): Promise<Row[]> {
  const file = largestPolicy();
  const { db } = OfflinePolicy.read(file);
  say(`policy: ${file}, ${db.rules.length} rules`);
  const program = await compilePeer("policy", folder, ["-l:libsepol.so.2"]);
  const queries = randomQuestions(db, QUERIES);
  const list = listOfMany();
  const files = {
    queries: write(join(folder, "queries.json"), JSON.stringify(queries)),
    matrix: write(join(folder, "matrix.list"), list.text),
    queriesInC: write(join(folder, "queries.txt"), linesFor(queries, db)),
    matrixInC: write(join(folder, "matrix.txt"), linesFor(list.questions, db)),
  };
  const rows: Row[] = [];
  for (const runtime of runtimes()) {
    say(`policy on ${runtime.name}`);
    for (const what of ["queries", "matrix"] as const) {
      const ours = runtimeCommand(runtime, "test/bench/ours/policy.ts", compiled);
      using us = Contender.start([...ours, file, files[what]], runtime.name);
      using them = Contender.start([program, file, files[`${what}InC`]], "policy.c");
      const count = what === "queries" ? QUERIES : 1;
      const round = (one: Contender) => ({
        round: async () => (await one.ask(what))[0]! / count,
      });
      const bar = { name: `policy ${what} ${runtime.name}`, unit: "us", bar: 1.3 } as const;
      rows.push(await compare(bar, round(us), round(them), ROUNDS));
    }
  }
  return rows;
}

function write(file: string, text: string): string {
  writeFileSync(file, text);
  return file;
}

/** Ten images a guest, each with its categories. */
function listOfMany() {
  const level = (guest: number) => `s0:c${guest},c${guest + 300}`;
  const guest = (i: number) => `system_u:system_r:svirt_t:${level(i)}`;
  const image = (i: number) => `system_u:object_r:svirt_image_t:${level(i % GUESTS)}`;
  const lines = [
    ...Array.from({ length: GUESTS }, (_, i) => `guest ${guest(i)} guest${i}`),
    ...Array.from({ length: IMAGES }, (_, i) => `image ${image(i)} /srv/${i}.qcow2`),
  ];
  const pairs = Array.from({ length: GUESTS * GUESTS }, (_, i): Question => ({
    source: guest(i % GUESTS),
    target: image(Math.floor(i / GUESTS)),
    tclass: "file",
    permissions: ["open", "read", "write"],
  }));
  return { text: lines.join("\n"), questions: pairs };
}

function linesFor(questions: readonly Question[], db: PolicyDb): string {
  return questions.map(({ source, target, tclass, permissions }) => {
    const { value, permissions: names } = db.classes.get(tclass)!;
    const bits = permissions.reduce((all, it) => all | 1 << names.indexOf(it), 0);
    return `${source} ${target} ${value} ${bits >>> 0}`;
  }).join("\n");
}
