/**
 * `npm start`: boots the lab, lets the agent do its main job there, prints what happens and ends with
 * the verdict matrix.
 *
 * @module
 */

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { table } from "../../agent/command/terminal.ts";
import type { Check } from "../live/show/check.ts";
import { DEFAULT_RELEASE, LabError, progressOn, runInLab } from "./lab.ts";
import { PROJECT } from "./project.ts";

const OUT = join(PROJECT, "lab-out");

const HELP =
  `The main job, in a virtual machine with SELinux enforcing: two guests on two storages, before,
attached and frozen. It prints what happens, and ends with the verdict matrix.

Usage: npm start [-- OPTION]

Options:
  --boot  boot a guest with a real kernel, too, as far as a shell that writes to its disk: an
          emulated processor inside an emulated one needs minutes for that
  --help  this text

What it leaves is in lab-out/. Exit status: 0 when everything was as expected, 1 when something was
not, 2 usage, 3 when the machine could not be made or started.
`;

const STATUS_USAGE = 2;
const STATUS_LAB_FAILED = 3;

/** For the main job, and for the boot of a guest on a machine that has more to do. */
const LIMIT_SECONDS = { job: 300, boot: 900 };

/** Wrong use of the command line. */
class UsageError extends Error {}

/** What the lab left; {@link ../live/show/main.ts} wrote it. */
interface Result {
  readonly checks: readonly Check[];
  readonly release: string;
  readonly kernel: string;
  readonly qemu: string;
  readonly runtime: string;
  unexpectedAvcs: unknown[];
}

const COLUMNS = ["dup", "open", "read", "write", "map"] as const;

function matrix(checks: readonly Check[]): string[] {
  const rows = checks.map((
    { storage, stage, guest, holder, image, verdict, grade, asExpected },
  ) => [
    storage,
    stage,
    holder.kind === "hostile" ? `${guest} (hostile)` : guest,
    image,
    ...COLUMNS.map((key) => verdict[key]?.answer ?? "-"),
    grade ?? "",
    asExpected ? "ok" : "NOT AS EXPECTED",
  ]);
  const header = ["STORAGE", "STAGE", "WHO", "IMAGE", ...COLUMNS.map((it) => it.toUpperCase())];
  return table([[...header, "GRADE", ""], ...rows]);
}

function parse(args: string[]): { boot: boolean; help: boolean } {
  const boolean = { type: "boolean", default: false } as const;
  try {
    return parseArgs({ args, options: { boot: boolean, help: { ...boolean, short: "h" } } }).values;
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

async function main(args: string[]): Promise<number> {
  const { boot, help } = parse(args);
  if (help) {
    process.stdout.write(HELP);
    return 0;
  }
  const interrupt = new AbortController();
  process.once("SIGINT", () => interrupt.abort());
  process.once("SIGTERM", () => interrupt.abort());
  const started = performance.now();
  const { status, avcs } = await runInLab({
    release: DEFAULT_RELEASE,
    command: ["node", "dist/test/live/show/main.js", ...boot ? ["--boot"] : []],
    timeLimitSeconds: LIMIT_SECONDS.job + (boot ? LIMIT_SECONDS.boot : 0),
    out: OUT,
    environment: { NODE_COMPILE_CACHE: "/tmp/node-cache" },
    onOutput: (bytes) => process.stdout.write(bytes),
    progress: progressOn((text) => process.stderr.write(text)),
    signal: interrupt.signal,
  });
  const file = join(OUT, "result.json");
  if (!existsSync(file)) {
    console.error("The main job did not come to its end; see lab-out/console.log");
    return status || 1;
  }
  const result = JSON.parse(readFileSync(file, "utf8")) as Result;
  result.unexpectedAvcs = [...avcs.unexpected];
  writeFileSync(file, JSON.stringify(result, null, 2));
  console.log("");
  for (const line of matrix(result.checks)) console.log(line);
  for (const avc of avcs.unexpected) console.log(`unexpected denial: ${JSON.stringify(avc)}`);
  const good = result.checks.filter(({ asExpected }) => asExpected).length;
  const seconds = Math.round((performance.now() - started) / 1000);
  console.log(
    `\n${good} of ${result.checks.length} checks as expected, ` +
      `${avcs.unexpected.length} unexpected denials, ${avcs.claimed.length} provoked; ` +
      `Debian ${result.release}, Linux ${result.kernel}, QEMU ${result.qemu}, ${result.runtime}, ` +
      `SELinux enforcing; ${seconds} s. Details: lab-out/result.json, lab-out/audit.jsonl`,
  );
  return status !== 0 || good !== result.checks.length || avcs.unexpected.length > 0 ? 1 : 0;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (error instanceof UsageError) {
    console.error(`start: ${error.message}\nHint: npm start -- --help`);
    process.exitCode = STATUS_USAGE;
  } else if (error instanceof LabError) {
    console.error(error.message);
    process.exitCode = STATUS_LAB_FAILED;
  } else throw error;
}
