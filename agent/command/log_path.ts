import { existsSync } from "node:fs";
import { readAgent } from "../config/agent_file.ts";
import { type Arguments, UsageError } from "./command.ts";

/** Name of the log in its folder. */
export const LOG_NAME = "audit.jsonl";

/** The log that a command is about: the one that was named, else the host's own. */
export function logPath({ options }: Arguments, named: string | undefined): string {
  if (named !== undefined) return requireThere(named);
  const { audit } = readAgent(options["config"] as string | undefined);
  return requireThere(`${audit.folder}/${LOG_NAME}`);
}

function requireThere(path: string): string {
  if (existsSync(path)) return path;
  throw new UsageError(`There is no log ${path}`, "Name another one, or the host's agent.toml.");
}
