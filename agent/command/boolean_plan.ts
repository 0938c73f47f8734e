import { existsSync } from "node:fs";
import { AGENT_FILE } from "../config/agent_file.ts";
import { openHost } from "./open_host.ts";
import { booleans } from "../label/boolean.ts";
import {
  type BooleanPlan,
  describeBooleanPlan,
  type HostUse,
  planBoolean,
} from "../label/boolean_plan.ts";
import { requireSelinux, unknownBoolean } from "./boolean_get.ts";
import { type Arguments, EXIT, UsageError } from "./command.ts";
import { hostUse } from "./host_use.ts";
import type { Terminal } from "./terminal.ts";

/** Shows what switching a boolean would change on this host. */
export function run(args: Arguments, terminal: Terminal): Promise<number> {
  const plan = makePlan(args, terminal);
  if (args.options["json"] === true) {
    terminal.out(JSON.stringify({ schemaVersion: 1, ...plan }, bigintAsText, 2));
  } else for (const line of describeBooleanPlan(plan)) terminal.out(line);
  return Promise.resolve(EXIT.asExpected);
}

/** The plan for the operands NAME on|off; `boolean set` shows the same one. */
export function makePlan(args: Arguments, terminal: Terminal): BooleanPlan {
  const { operands: [name, word] } = args;
  if (word !== "on" && word !== "off") {
    throw new UsageError(`"${word}" is neither on nor off`, "NAME on|off");
  }
  requireSelinux();
  const state = booleans.read(name!);
  if (state === undefined) throw unknownBoolean(name!);
  return planBoolean(state, word === "on", useOfHost(args, terminal));
}

function useOfHost(args: Arguments, terminal: Terminal): HostUse {
  if (!existsSync(String(args.options["config"] ?? AGENT_FILE))) return hostUse(undefined);
  using host = openHost(args, terminal, { announce: false });
  return hostUse(host.log.state);
}

function bigintAsText(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? String(value) : value;
}
