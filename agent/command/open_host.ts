import { mkdirSync } from "node:fs";
import { AvcStream } from "../audit/avc_stream.ts";
import { AuditLog } from "../audit/log.ts";
import { readAgent } from "../config/agent_file.ts";
import type { Host } from "../host.ts";
import { Folder } from "../image/folder.ts";
import { booleans } from "../label/boolean.ts";
import { formatContext } from "../label/context.ts";
import { kernel } from "../label/selinux.ts";
import { livePolicy } from "../policy/live.ts";
import { startTimeOf } from "../process/contexts.ts";
import { runtime } from "../process/runtime.ts";
import { VERSION } from "../version.ts";
import type { Arguments } from "./command.ts";
import { LOG_NAME } from "./log_path.ts";
import type { Terminal } from "./terminal.ts";

/** What a command does with the host; only the one that guards a guest records its start. */
export interface OpenHostOptions {
  readonly announce: boolean;
}

/** The real host, as agent.toml describes it; the caller disposes of it. */
export function openHost(
  { options }: Arguments,
  terminal: Terminal,
  { announce }: OpenHostOptions,
): Host & Disposable {
  const settings = readAgent(options["config"] as string | undefined);
  mkdirSync(settings.audit.folder, { recursive: true, mode: 0o700 });
  const opened: Disposable[] = [];
  const keep = <T extends Disposable>(it: T): T => (opened.push(it), it);
  const close = () => opened.reverse().forEach((it) => it[Symbol.dispose]());
  try {
    const folders = settings.folders.map((path) => keep(Folder.open(path)));
    const log = keep(AuditLog.open(`${settings.audit.folder}/${LOG_NAME}`));
    const agent = { pid: process.pid, startTime: startTimeOf(process.pid)! };
    const avcs = openAvcs(terminal);
    if (avcs !== undefined) keep(avcs);
    const { name, version } = runtime();
    if (announce) {
      log.append({
        event: "agent-start",
        ...agent,
        version: VERSION,
        runtime: `${name} ${version}`,
        context: kernel.mode() === "disabled" ? null : formatContext(kernel.ownContext()),
      });
    }
    const world = { selinux: kernel, booleans, policy: livePolicy };
    return { settings, folders, log, agent, avcs, ...world, [Symbol.dispose]: close };
  } catch (error) {
    close();
    throw error;
  }
}

/** Without the audit stream denials cannot be shown; everything else still works. */
function openAvcs(terminal: Terminal): AvcStream | undefined {
  try {
    return AvcStream.open();
  } catch (error) {
    const { message, hint } = error as Error & { hint?: string };
    terminal.err(`svirt-agent: no audit stream, so no AVC witness: ${message}. ${hint ?? ""}`);
    return undefined;
  }
}
