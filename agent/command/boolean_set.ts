import { execFileSync } from "node:child_process";
import { createInterface } from "node:readline/promises";
import { RefusedError } from "../refused_error.ts";
import { booleans } from "../label/boolean.ts";
import { describeBooleanPlan } from "../label/boolean_plan.ts";
import { makePlan } from "./boolean_plan.ts";
import { type Arguments, EXIT } from "./command.ts";
import { openHost } from "./open_host.ts";
import type { Terminal } from "./terminal.ts";

/** Switches a boolean, once its plan was shown and agreed to; recorded before it is done. */
export async function run(args: Arguments, terminal: Terminal): Promise<number> {
  const plan = makePlan(args, terminal);
  for (const line of describeBooleanPlan(plan)) terminal.err(line);
  const { name, from, to } = plan;
  if (args.options["dry-run"] === true) return EXIT.asExpected;
  if (from === to && args.options["persist"] !== true) return EXIT.asExpected;
  if (args.options["yes"] !== true && !await agreed(`Switch ${name} ${to ? "on" : "off"}?`)) {
    throw new RefusedError(`${name} stays as it is`, "To switch it without being asked: --yes");
  }
  using host = openHost(args, terminal, { announce: false });
  const persist = args.options["persist"] === true;
  const by = `uid ${process.getuid?.() ?? "?"} pid ${process.pid}`;
  host.log.append({ event: "boolean", name, from, to, persist, by, reason: "boolean set" });
  try {
    if (persist) persistBoolean(name, to);
    else booleans.write(name, to);
  } catch (error) {
    const reason = `could not be switched: ${(error as Error).message}`;
    host.log.append({ event: "boolean", name, from: to, to: from, persist, by, reason });
    throw error;
  }
  const now = booleans.read(name);
  terminal.out(`${name} is ${now?.active === true ? "on" : "off"}`);
  return now?.active === to ? EXIT.asExpected : EXIT.unknown;
}

/** setsebool(8) rewrites and reloads the policy: an administrator's right, not the agent's domain's. */
function persistBoolean(name: string, to: boolean): void {
  const args = ["-P", name, to ? "on" : "off"];
  try {
    execFileSync("setsebool", args, { stdio: "inherit" });
  } catch (error) {
    throw new RefusedError(
      `setsebool ${args.join(" ")}: ${(error as Error).message}`,
      "The agent's domain loads no policy. As an administrator: setsebool " + args.join(" "),
    );
  }
}

async function agreed(question: string): Promise<boolean> {
  if (!process.stdin.isTTY) return false;
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return /^y(es)?$/i.test(await terminal.question(`${question} [y/N] `));
  } finally {
    terminal.close();
  }
}
