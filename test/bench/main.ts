/**
 * `npm run bench`: what the product costs beside the same work in C, or beside a program that does
 * nothing. Ratios within one run; not part of `npm test`, because other load moves them.
 *
 * @module
 */

import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { constants, setPriority, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { table } from "../../agent/command/terminal.ts";
import { compileTo } from "../lab/compiled.ts";
import { PROJECT } from "../lab/project.ts";
import { measureAddFd } from "./add_fd.ts";
import { measureAppend } from "./append.ts";
import { measureAttach } from "./attach.ts";
import { measureColdStart } from "./cold_start.ts";
import { holds, type Row } from "./compare.ts";
import type { Bench, Measure } from "./measurement.ts";
import { MissingError } from "./peer.ts";
import { measurePolicy } from "./policy.ts";
import { measurePolicyTest } from "./policy_test.ts";
import { measureSetools } from "./setools.ts";

const MEASUREMENTS: Readonly<Record<string, Measure>> = {
  "add-fd": measureAddFd,
  attach: measureAttach,
  "cold-start": measureColdStart,
  append: measureAppend,
  policy: measurePolicy,
  "policy-test": measurePolicyTest,
  setools: measureSetools,
};

const HELP = `What the product costs beside the same work in C.

Usage: npm run bench [-- OPTION...]

Options:
  --only NAME[,NAME]  of ${Object.keys(MEASUREMENTS).join(", ")}
  --json              one JSON array of rows on standard output, and nothing else
  --help              this text

Exit status: 0 when every ratio is below its bar, 1 when one is not, 2 usage.
`;

const STATUS_FAILED = 1;
const STATUS_USAGE = 2;
const STATUS_INTERRUPTED = 130;

/** Wrong use of the command line. */
class UsageError extends Error {}

const say = (line: string) => void process.stderr.write(`bench: ${line}\n`);

async function main(args: string[]): Promise<number> {
  const { only, json, help } = parse(args);
  if (help) {
    process.stdout.write(HELP);
    return 0;
  }
  const names = only?.split(",") ?? Object.keys(MEASUREMENTS);
  const unknown = names.find((name) => !Object.hasOwn(MEASUREMENTS, name));
  if (unknown !== undefined) throw new UsageError(`There is no measurement "${unknown}"`);
  preferThisProgram();
  const rows: Row[] = [];
  using work = temporary();
  await compileTo(work.compiled);
  for (const name of names) rows.push(...await measure(name, work));
  process.stdout.write(json ? `${JSON.stringify(rows.map(rounded))}\n` : `${shown(rows)}\n`);
  return rows.every(holds) ? 0 : STATUS_FAILED;
}

/** Other load disturbs less where both sides, and QEMU, go before it: children inherit this. */
function preferThisProgram(): void {
  try {
    setPriority(0, constants.priority.PRIORITY_HIGHEST);
  } catch {
    say("without root, other load on this machine counts more");
  }
}

function parse(args: string[]) {
  try {
    return parseArgs({
      args,
      options: {
        only: { type: "string" },
        json: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    }).values;
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

/** Where this run works; gone when it ends, also when it is interrupted. */
function temporary(): Omit<Bench, "say"> & Disposable {
  // Not /tmp: where that is memory, fdatasync costs nothing.
  mkdirSync(join(PROJECT, ".lab"), { recursive: true });
  const folder = mkdtempSync(join(PROJECT, ".lab/bench-"));
  const sockets = mkdtempSync(join(tmpdir(), "bench-"));
  const remove = () => {
    for (const path of [folder, sockets]) rmSync(path, { recursive: true, force: true });
  };
  process.once("exit", remove);
  return { folder, sockets, compiled: join(folder, "dist"), [Symbol.dispose]: remove };
}

/** A measurement that lacks something on this machine is left out, and says what. */
async function measure(name: string, work: Omit<Bench, "say">): Promise<Row[]> {
  const folder = join(work.folder, name);
  mkdirSync(folder);
  try {
    return await MEASUREMENTS[name]!({ ...work, folder, say });
  } catch (error) {
    if (!(error instanceof MissingError)) throw error;
    say(`${name} is left out: ${error.message}`);
    return [];
  }
}

function rounded(row: Row) {
  const short = (value: number, digits: number) => Number(value.toFixed(digits));
  const { name, unit, ours, peer, ratio, difference, bar, above } = row;
  const figures = {
    ours: short(ours, 2),
    peer: short(peer, 2),
    ratio: Number(ratio.toPrecision(3)),
  };
  const most = above !== undefined && { difference: short(difference, 2), above };
  return { name, unit, ...figures, bar, ...most, holds: holds(row) };
}

function shown(rows: readonly Row[]): string {
  const lines = rows.map(rounded).map((row) => [
    row.name,
    `${row.ours} ${row.unit}`,
    `${row.peer} ${row.unit}`,
    row.ratio < 0.01 ? row.ratio.toPrecision(2) : row.ratio.toFixed(2),
    row.difference === undefined
      ? `${row.bar}`
      : `${row.bar}, and ${row.difference} of ${row.above} ${row.unit} above`,
    row.holds ? "ok" : "ABOVE ITS BAR",
  ]);
  return table([["WHAT", "OURS", "PEER", "RATIO", "BAR", ""], ...lines]).join("\n");
}

for (const name of ["SIGINT", "SIGTERM"] as const) {
  process.once(name, () => process.exit(STATUS_INTERRUPTED));
}
try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  process.stderr.write(`bench: ${error.message}\nHint: npm run bench -- --help\n`);
  process.exitCode = STATUS_USAGE;
}
