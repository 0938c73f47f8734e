import type { ProcessName } from "./audit/event.ts";
import type { AuditLog } from "./audit/log.ts";
import type { AvcStream } from "./audit/avc_stream.ts";
import type { HostSettings } from "./config/agent_file.ts";
import type { Folder } from "./image/folder.ts";
import type { Booleans } from "./label/boolean.ts";
import type { Selinux } from "./label/selinux.ts";
import type { Policy } from "./policy/live.ts";

/** Everything outside the agent that it works on, so that tests can put a small world in its place. */
export interface Host {
  readonly settings: HostSettings;
  readonly folders: readonly Folder[];
  readonly log: AuditLog;
  readonly selinux: Selinux;
  readonly booleans: Booleans;
  readonly policy: Policy;
  /** Absent where the agent may not read the audit stream. */
  readonly avcs: AvcStream | undefined;
  /** This agent, as the log names it. */
  readonly agent: ProcessName;
}
