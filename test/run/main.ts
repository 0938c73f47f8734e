/**
 * `npm test`: everything that has to hold, step by step.
 *
 * `steps.ts` lists the steps, `command.ts` runs one, `counts.ts` reads its runner's summary,
 * `outcome.ts` judges it.
 *
 * @module
 */

import { parseArgs } from "node:util";
import { runCommand } from "./command.ts";
import { add, formatCounts, NONE } from "./counts.ts";
import { judge, type Outcome, outcomeLine } from "./outcome.ts";
import { providePackages } from "./host_packages.ts";
import { LIVE, type Step, STEPS } from "./steps.ts";

const HELP = `Everything that has to hold.

Usage: npm test [-- OPTION...]

Options:
  --only STEP[,STEP]  these steps alone
  --no-live           a quick look: no step that boots the lab
  --list              the steps, with their commands
  --help              this text

A run without the live tests says so, and with CI=true it fails.
`;

const STATUS_FAILED = 1;
const STATUS_USAGE = 2;
const STATUS_INTERRUPTED = 130;

/** One step after the other would leave a processor idle: most run one thread at a time. */
const AT_ONCE = 2;

/** Wrong use of the command line. */
class UsageError extends Error {}

const interrupt = new AbortController();
const say = (line: string) => void process.stdout.write(`${line}\n`);

async function main(args: string[]): Promise<number> {
  const { only, "no-live": noLive, list, help } = parse(args);
  if (help) {
    process.stdout.write(HELP);
    return 0;
  }
  const steps = choose(only, noLive);
  if (list) {
    for (const { name, command } of steps) say(`${name.padEnd(12)} ${command.join(" ")}`);
    return 0;
  }
  for (const name of ["SIGINT", "SIGTERM"] as const) process.on(name, () => interrupt.abort());
  if (steps.some(({ runner, inLab }) => runner !== undefined && !inLab)) await providePackages(say);

  const outcomes = [
    ...await runOverlapping(steps.filter(({ inLab }) => !inLab)),
    ...await runOverlapping(steps.filter(isLive)),
    // What it takes is shown to whoever types `npm start`: nothing runs beside it.
    ...await runOverlapping(steps.filter((step) => step.inLab && !isLive(step))),
  ];
  return report(outcomes);
}

function parse(args: string[]) {
  try {
    return parseArgs({
      args,
      options: {
        only: { type: "string" },
        "no-live": { type: "boolean", default: false },
        list: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    }).values;
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

function choose(only: string | undefined, noLive: boolean): Step[] {
  const names = only?.split(",") ?? STEPS.map(({ name }) => name);
  const isMeant = (name: string, step: Step) =>
    step.name === name || (name === LIVE && isLive(step));
  const unknown = names.find((name) => !STEPS.some((step) => isMeant(name, step)));
  if (unknown !== undefined) {
    const known = [...STEPS.map(({ name }) => name), `${LIVE} (all of them)`].join(", ");
    throw new UsageError(`Unknown step "${unknown}": use ${known}`);
  }
  return STEPS.filter((step) =>
    names.some((name) => isMeant(name, step)) && !(noLive && step.inLab)
  );
}

function isLive({ name }: Step): boolean {
  return name.startsWith(`${LIVE}-`);
}

/** Runs steps {@linkcode AT_ONCE} at a time, and tells of each in the order of the list. */
async function runOverlapping(steps: readonly Step[]): Promise<Outcome[]> {
  const waiting = [...steps.entries()];
  const outcomes: Outcome[] = [];
  let told = 0;
  const worker = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const [i, step] = next;
      outcomes[i] = await runStep(step);
      while (outcomes[told] !== undefined) tell(outcomes[told++]!);
    }
  };
  // All settle before the first error is thrown: no command is left running.
  const ends = await Promise.allSettled(Array.from({ length: AT_ONCE }, worker));
  for (const end of ends) if (end.status === "rejected") throw end.reason;
  return outcomes;
}

async function runStep(step: Step): Promise<Outcome> {
  const start = performance.now();
  interrupt.signal.throwIfAborted();
  const { name, command, limitSeconds, inLab } = step;
  const progress = inLab ? (line: string) => say(`  ${name}: ${line}`) : undefined;
  const finished = await runCommand(command, limitSeconds, interrupt.signal, progress);
  interrupt.signal.throwIfAborted();
  return judge(step, finished, (performance.now() - start) / 1000);
}

function tell(outcome: Outcome): void {
  if (outcome.failures.length > 0) say(outcome.output.trimEnd());
  for (const line of outcome.skipped) say(`  skipped: ${line}`);
  say(outcomeLine(outcome, formatCounts(outcome.counts)));
}

/** The sums come last, alone on their line, unless it has to be said that they are not all. */
function report(outcomes: readonly Outcome[]): number {
  const failed = outcomes.filter(({ failures }) => failures.length > 0);
  if (failed.length > 0) say(`\nfailed: ${failed.map(({ step }) => step.name).join(", ")}`);
  say(`\n${formatCounts(outcomes.map(({ counts }) => counts).reduce(add, NONE))}`);
  const ranLive = STEPS.filter(isLive).every((live) => outcomes.some(({ step }) => step === live));
  if (!ranLive) say("Not all live tests were run: not all of what is promised was shown");
  const incomplete = !ranLive && process.env["CI"] === "true";
  return failed.length > 0 || incomplete ? STATUS_FAILED : 0;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (interrupt.signal.aborted) {
    process.stderr.write("test: interrupted\n");
    process.exitCode = STATUS_INTERRUPTED;
  } else if (error instanceof UsageError) {
    process.stderr.write(`test: ${error.message}\nHint: npm test -- --help\n`);
    process.exitCode = STATUS_USAGE;
  } else {
    throw error;
  }
}
