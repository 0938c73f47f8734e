/**
 * What other programs may import: give a guest its images, take them away, freeze them, and read
 * what the log says about it.
 *
 * ```ts
 * const guest = readGuest("/etc/svirt-agent/guests.d/web1.toml");
 * using attached = await attach(guest, host);
 * await attached.qemu.monitor.execute("cont");
 * await snapshot(attached, ["root"], host);
 * await detach(guest.name, host, { quit: () => attached.qemu.monitor.execute("quit") });
 * ```
 *
 * `host` is everything outside the agent: {@linkcode Host} lists the parts, of which
 * {@linkcode kernel}, {@linkcode booleans} and {@linkcode livePolicy} are the real ones. Nothing here
 * needs SELinux to be imported; C libraries are loaded on first use.
 *
 * @module
 */

export { VERSION } from "./version.ts";

// --- operations, each all or nothing and on record
export { attach, ATTACH_STEPS } from "./attach.ts";
export type { AttachedGuest, AttachedImage } from "./attached_guest.ts";
export { detach, type Guarded, type Quit } from "./operation/detach.ts";
export { Turns } from "./operation/turns.ts";
export type { FrozenImage } from "./operation/freeze.ts";
export { recover, type RecoverOptions } from "./operation/recover.ts";
export { snapshot, UnknownOutcomeError } from "./operation/snapshot.ts";
export { RefusedError } from "./refused_error.ts";

// --- a guest and its host
export type { Backing, Format, Guest, Image, QemuSettings } from "./guest.ts";
export type { Host } from "./host.ts";
export {
  AGENT_FILE,
  type AuditSettings,
  type HostSettings,
  readAgent,
} from "./config/agent_file.ts";
export { ConfigError } from "./config/config_error.ts";
export { readGuest } from "./config/guest_file.ts";
export { Folder } from "./image/folder.ts";
export { ImageError, type ImageErrorCode } from "./image/image_error.ts";
export { type Booleans, booleans, type BooleanState } from "./label/boolean.ts";
export { kernel, type Mode, type Selinux } from "./label/selinux.ts";
export { livePolicy, type Policy } from "./policy/live.ts";
export { startTimeOf } from "./process/contexts.ts";

// --- contexts
export { type Context, formatContext, parseContext } from "./label/context.ts";
export {
  type CategoryRange,
  formatLevel,
  formatRange,
  type Level,
  parseLevel,
  parseRange,
  type Range,
} from "./label/level.ts";

// --- verdicts
export type { Grade } from "./label/mount.ts";
export { type GuestVerdict, type ImageVerdict, VerdictError, verifyGuest } from "./verify/guest.ts";
export { type Difference, PROMISES } from "./verify/promise.ts";
export { type Answer, type DecidedBy, type Decision, type Verdict } from "./verify/verdict.ts";

// --- the audit log
export { AuditError, type AuditErrorCode } from "./audit/audit_error.ts";
export { AvcStream } from "./audit/avc_stream.ts";
export {
  type Broken,
  type Checked,
  checkLog,
  formatProblem,
  type Note,
  type Whole,
} from "./audit/check.ts";
export type { AuditEvent, ProcessName } from "./audit/event.ts";
export { type AppendOptions, AuditLog, type AuditLogOptions } from "./audit/log.ts";
export type { AuditRecord, Head, Seal } from "./audit/record.ts";
export type { OpenGrant, OpenIntent, State } from "./audit/state.ts";

// --- descriptors and errors of system calls
export { type Access, type Identity, OwnedFd } from "./owned_fd.ts";
export { SystemError } from "../ffi/errno.ts";
