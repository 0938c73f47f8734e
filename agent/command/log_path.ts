import { readAgent } from "../config/agent_file.ts";
import type { Arguments } from "./command.ts";

/** Name of the log in its folder. */
export const LOG_NAME = "audit.jsonl";

/** The log that a command is about: the one that was named, else the host's own. */
export function logPath({ options }: Arguments, named: string | undefined): string {
  if (named !== undefined) return named;
  const { audit } = readAgent(options["config"] as string | undefined);
  return `${audit.folder}/${LOG_NAME}`;
}
