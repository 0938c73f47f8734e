/** `npm run lab`: builds, boots and uses the lab from a terminal. */

import { parseArgs } from "node:util";
import { describeAvc } from "./accounting.ts";
import { readAllowances } from "./avcs.ts";
import { buildLab, DEFAULT_RELEASE, type LabResult, type LabRun, runInLab } from "./lab.ts";
import { progressOn } from "./progress.ts";
import { RELEASES } from "./release.ts";

const HELP = `A virtual machine with SELinux enforcing, to run the working tree in.

Usage:
  npm run lab -- build [--release NAME]
  npm run lab -- run [OPTION...] [--] COMMAND...
  npm run lab -- shell [OPTION...]

COMMAND runs in /src, the working tree as it is now. Its status becomes that of \`run\`; what it
leaves in /out comes back to lab-out/. \`run\` fails with 1 when SELinux denied something that no
test has claimed, with 124 at the time limit, with 125 when the lab itself failed.

Options:
  --release NAME        Debian release: ${
  RELEASES.map((r) => r.name).join(", ")
} (default ${DEFAULT_RELEASE})
  --domain CONTEXT      security context of COMMAND (default: that of init scripts, initrc_t)
  --time-limit SECONDS  for COMMAND (default 600)
  --out DIR             where /out comes back to; emptied first (default lab-out)
  --sabotage            bring broken policies along, for test/live/sabotage.test.ts
  --any-avc             do not fail for unexpected denials
  --help                this text

The image is kept in $SVIRT_LAB_CACHE or ~/.cache/svirt-agent/lab.
`;

const STATUS_DENIALS = 1;
const STATUS_USAGE = 2;
const STATUS_LAB_FAILED = 125;
const STATUS_INTERRUPTED = 130;

/** Wrong use of the command line; its message says what to type instead. */
class UsageError extends Error {}

const options = {
  release: { type: "string", default: DEFAULT_RELEASE },
  domain: { type: "string" },
  "time-limit": { type: "string", default: "600" },
  out: { type: "string" },
  sabotage: { type: "boolean", default: false },
  "any-avc": { type: "boolean", default: false },
  help: { type: "boolean", short: "h", default: false },
} as const;

const progress = progressOn((text) => process.stderr.write(text));

async function main(args: string[]): Promise<number> {
  const [verb = "--help", ...rest] = args;
  if (["--help", "-h", "help"].includes(verb)) {
    process.stdout.write(HELP);
    return 0;
  }
  if (!["build", "run", "shell"].includes(verb)) {
    throw new UsageError(`Unknown command "${verb}": use build, run or shell`);
  }
  const { ours, command } = splitCommand(rest);
  const { values } = parse(ours);
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  if (!RELEASES.some((release) => release.name === values.release)) {
    const known = RELEASES.map((release) => release.name).join(" or ");
    throw new UsageError(`Unknown release "${values.release}": use ${known}`);
  }
  if (verb !== "run" && command.length > 0) {
    throw new UsageError(`"${verb}" takes no command, but got "${command[0]}": use run`);
  }
  if (verb === "build") {
    progress.say(`ready in ${await buildLab(values.release, { progress })}`);
    return 0;
  }
  if (verb === "run" && command.length === 0) {
    throw new UsageError("run needs a COMMAND: npm run lab -- run -- getenforce");
  }
  if (verb === "shell" && !process.stdin.isTTY) {
    throw new UsageError("shell needs a terminal: use run");
  }
  readAllowances(); // a list that is too long is refused before half a minute is spent
  if (verb === "shell") {
    progress.say(
      "leave the shell with `exit`, or kill the machine with Ctrl-A X",
    );
  }
  const result = await runInterruptibly({
    command,
    release: values.release,
    timeLimitSeconds: seconds(values["time-limit"]),
    sabotage: values.sabotage,
    ...(values.domain !== undefined && { domain: values.domain }),
    ...(values.out !== undefined && { out: values.out }),
    onOutput: (bytes) => void process.stdout.write(bytes),
    progress,
  });
  return verb === "shell" ? 0 : report(result, values["any-avc"]);
}

/** Our options end where the command begins: at `--` or at the first word that is no option. */
function splitCommand(args: readonly string[]): { ours: string[]; command: string[] } {
  let i = 0;
  while (i < args.length && args[i]!.startsWith("-") && args[i] !== "--") {
    const name = args[i]!.replace(/^--/, "");
    const takesValue = name in options && options[name as keyof typeof options].type === "string";
    i += takesValue ? 2 : 1;
  }
  return { ours: args.slice(0, i), command: args.slice(args[i] === "--" ? i + 1 : i) };
}

function parse(args: string[]) {
  try {
    return parseArgs({ args, options, strict: true, allowPositionals: false });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

function seconds(text: string): number {
  const number = Number(text);
  if (Number.isInteger(number) && number > 0) return number;
  throw new UsageError(`--time-limit takes whole seconds, not "${text}"`);
}

/** The first Ctrl-C kills the machine, so that its files can be cleaned up. */
async function runInterruptibly(run: LabRun): Promise<LabResult> {
  const controller = new AbortController();
  const abort = () => controller.abort();
  process.on("SIGINT", abort).on("SIGTERM", abort);
  try {
    return await runInLab({ ...run, signal: controller.signal });
  } catch (error) {
    if (controller.signal.aborted) process.exit(STATUS_INTERRUPTED);
    throw error;
  } finally {
    process.off("SIGINT", abort).off("SIGTERM", abort);
  }
}

function report({ status, seconds, avcs }: LabResult, anyAvc: boolean): number {
  for (const avc of avcs.unexpected) progress.say(`unexpected denial, ${describeAvc(avc)}`);
  const { claimed, allowed, unexpected } = avcs;
  progress.say(
    `status ${status} after ${seconds.toFixed(1)} s; denials: ${claimed.length} claimed, ` +
      `${allowed.length} allowed, ${unexpected.length} unexpected`,
  );
  return status === 0 && unexpected.length > 0 && !anyAvc ? STATUS_DENIALS : status;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  const usage = error instanceof UsageError;
  process.stderr.write(`lab: ${(error as Error).message}\n`);
  if (usage) process.stderr.write("Hint: npm run lab -- --help\n");
  process.exitCode = usage ? STATUS_USAGE : STATUS_LAB_FAILED;
}
