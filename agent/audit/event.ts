import type { Owner } from "../image/owner.ts";
import type { Access, Identity } from "../owned_fd.ts";

/**
 * What the audit log records, design section 9. The names and spellings here are those on the wire,
 * so changing one breaks the logs that exist.
 *
 * Fields of type `unknown` hold any JSON; what JSON cannot carry is refused when it is written.
 */
export type AuditEvent =
  | AgentStartEvent
  | BooleanEvent
  | IntentEvent
  | GrantEvent
  | RevokeEvent
  | OutcomeEvent
  | VerifyEvent
  | DenyEvent
  | RecoverEvent
  | FindingEvent;

/** A process for as long as the host is up: its pid alone may be given to another one. */
export interface ProcessName {
  readonly pid: number;
  /** Clock ticks since boot, field 22 of /proc/PID/stat. */
  readonly startTime: number;
}

export interface AgentStartEvent extends ProcessName {
  readonly event: "agent-start";
  /** Of svirt-agent. */
  readonly version: string;
  /** `node 24.21.0`. */
  readonly runtime: string;
  /** Security context of the agent; null where the kernel has no SELinux. */
  readonly context: string | null;
}

/** An SELinux boolean was switched, by the agent or by somebody else. */
export interface BooleanEvent {
  readonly event: "boolean";
  readonly name: string;
  readonly from: boolean;
  readonly to: boolean;
  /** Does it stay so after the next boot or policy load? */
  readonly persist: boolean;
  readonly by: string;
  readonly reason: string;
}

/** What changes a guest or its images. */
export type Operation =
  | "attach"
  | "detach"
  | "snapshot"
  | "commit"
  | "stream"
  | "mirror"
  | "hotplug"
  | "resize"
  | "backup"
  | "restore"
  /** A QEMU without a machine shows what the guest's label lets a process do. */
  | "canary";

/** An operation begins: on the disk before its first effect, with all that is needed to undo it. */
export interface IntentEvent {
  readonly event: "intent";
  readonly operation: Operation;
  /** Names the operation in its later records; never used twice. */
  readonly id: string;
  readonly guest: string;
  /** Who does it: when that process is gone the operation needs recovery. */
  readonly agent: ProcessName;
  readonly undo: readonly Undo[];
  readonly plan: unknown;
}

/** One thing to put back, told so that any later agent can do it. */
export type Undo =
  | {
    readonly kind: "label";
    readonly path: string;
    readonly identity: Identity;
    readonly label: string;
  }
  | ({
    readonly kind: "owner";
    readonly path: string;
    readonly identity: Identity;
  } & Owner)
  /** Identity null: not made yet when this was recorded; its random name is the operation's own. */
  | { readonly kind: "unlink"; readonly path: string; readonly identity: Identity | null }
  /** A guest's own node of a block device. */
  | { readonly kind: "node"; readonly path: string; readonly identity: Identity }
  | { readonly kind: "level"; readonly level: string }
  | { readonly kind: "cgroup"; readonly path: string }
  | ({ readonly kind: "process" } & ProcessName);

/** A descriptor of an image was passed to a guest. */
export interface GrantEvent {
  readonly event: "grant";
  /** Id of the operation. */
  readonly operation: string;
  readonly guest: string;
  /** Its name in the guest file. */
  readonly image: string;
  readonly path: string;
  readonly identity: Identity;
  readonly label: string | null;
  readonly mode: Access;
  readonly fdset: number;
  /** Opaque text of add-fd, by which query-fdsets shows the descriptor. */
  readonly fd: string;
  readonly reason: string;
  /** May other guests reference the file too? */
  readonly shared: boolean;
  /** RFC 3339; a lease ends then, a grant with null when it is revoked. */
  readonly deadline: string | null;
}

/** What a guest was granted on an image was taken away again. */
export interface RevokeEvent {
  readonly event: "revoke";
  /** Id of the operation. */
  readonly operation: string;
  readonly guest: string;
  readonly image: string;
  readonly path: string;
  readonly identity: Identity;
  /** `"ro"`: only its writing grants ended; absent: all of them. */
  readonly left?: "ro";
  readonly mechanism: string;
  readonly grade: string;
  readonly evidence: unknown;
}

/**
 * How an operation ended.
 *
 * - `done`: every step was taken
 * - `failed`: not every step was; what was done is undone for an attach, and stays otherwise
 * - `undone`: nothing of it is left
 * - `unknown`: could not find out; the intent stays open
 */
export type OperationResult = "done" | "failed" | "undone" | "unknown";

export interface OutcomeEvent {
  readonly event: "outcome";
  /** Id of the operation. */
  readonly operation: string;
  readonly guest: string;
  readonly result: OperationResult;
  readonly error?: {
    readonly name: string;
    readonly message: string;
    readonly code?: string;
    readonly hint?: string;
  };
  readonly evidence?: unknown;
}

export interface VerifyEvent {
  readonly event: "verify";
  readonly guest: string;
  readonly verdicts: unknown;
  /** What a canary showed, when one was started or what it showed still holds. */
  readonly canary?: unknown;
  readonly asExpected: boolean;
}

/** Denials by the kernel, aggregated: a guest must not be able to fill the log. */
export interface DenyEvent {
  readonly event: "deny";
  readonly guest: string;
  readonly key: string;
  readonly count: number;
  /** RFC 3339. */
  readonly first: string;
  /** RFC 3339. */
  readonly last: string;
  /** Of the first AVC, as ausearch(8) shows it. */
  readonly serial?: number;
}

/** An operation that another agent left open was brought to an end. */
export interface RecoverEvent {
  readonly event: "recover";
  /** Id of the operation. */
  readonly operation: string;
  readonly guest: string;
  readonly did: readonly string[];
}

export interface FindingEvent {
  readonly event: "finding";
  readonly id: string;
  readonly severity: "info" | "low" | "medium" | "high";
  readonly guest?: string;
  readonly text: string;
  readonly evidence: unknown;
  readonly hint: string;
}
