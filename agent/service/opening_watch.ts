import type { AttachedGuest } from "../attached_guest.ts";
import type { Host } from "../host.ts";
import { formatContext } from "../label/context.ts";
import { type Change, policyChanges, type PolicyState } from "../verify/change.ts";

const PERIOD_MS = 1_000;

/**
 * Looks once a second whether the guest could open an image of its own by path: a boolean was
 * switched on, a policy loaded, SELinux made permissive. From then on its verdicts are void,
 * whatever the log says. The policy is asked, not a list of booleans: on the reference policy
 * `use_nfs_home_dirs` opens NFS to guests just as `virt_use_nfs` does.
 *
 * @param opened Told what happened, each time opening goes from denied to anything else.
 * @param period In milliseconds.
 */
export function watchOpening(
  attached: AttachedGuest,
  host: Host,
  opened: (what: string) => void,
  period: number = PERIOD_MS,
): Disposable {
  let before = stateOf(host);
  // The first look asks anyway: something may have changed since the guest was verified.
  let isAsked = false;
  let isOpen = false;
  const look = () => {
    let changes: Change[] = [];
    let reason: string | undefined;
    try {
      const now = stateOf(host, before);
      changes = policyChanges(before, now, new Date().toISOString());
      // Without the kernel's status page nobody can tell, so the policy is asked each time.
      if (isAsked && before.status !== undefined && changes.length === 0) return;
      before = now;
      reason = reasonToWorry(attached, host);
      isAsked = true;
    } catch (error) {
      // Who cannot be asked has denied nothing; the next look asks again.
      isAsked = false;
      reason = `nobody can tell whether the guest opens images by path: ${
        (error as Error).message
      }`;
    }
    if (reason !== undefined && !isOpen) {
      const what = [...changes.filter(opens).map(inWords), reason].join(": ");
      // First what protects; a log that cannot be written must not keep it from happening.
      opened(what);
      record(what, changes, attached, host);
    }
    isOpen = reason !== undefined;
  };
  const timer = setInterval(look, period);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

function stateOf({ selinux, booleans }: Host, before?: PolicyState): PolicyState {
  const status = selinux.status();
  const isSame = before !== undefined && status !== undefined &&
    before.status?.policyLoad === status.policyLoad;
  return { status, booleans: isSame ? before.booleans : booleans.all() };
}

/** What a guest can do that it must not; `undefined` while it can open none of its images. */
function reasonToWorry(
  { context, images }: AttachedGuest,
  { selinux, policy }: Host,
): string | undefined {
  if (selinux.mode() !== "enforcing") return "nothing keeps the guest from opening images by path";
  for (const { label } of images) {
    if (!selinux.knows(label)) return `the policy does not know ${formatContext(label)} any more`;
    const access = policy.access(context, label, "file");
    if (access.permissive) return `${context.type} is permissive: it can open images by path`;
    if (access.decide("open").answer !== "denied") return "the guest can open images by path";
  }
  return undefined;
}

/** A boolean that was switched off opens nothing. */
function opens({ kind, text }: Change): boolean {
  return kind !== "boolean" || text.endsWith(" is on");
}

function inWords({ kind, text }: Change): string {
  return kind === "boolean" ? text.replace(/^boolean (\S+) is on$/, "$1 was switched on") : text;
}

/** Who did it, and what to do about it. */
function hintFor(change: Change | undefined): string {
  switch (change?.kind) {
    case "boolean":
      return "Who did it: ausearch -m MAC_CONFIG_CHANGE -ts recent. Off again: " +
        `svirt-agent boolean set ${change.text.split(" ")[1]} off`;
    case "mode":
      return "Who did it: ausearch -m MAC_STATUS -ts recent. Back again: setenforce 1";
    default:
      return "Who did it: ausearch -m MAC_POLICY_LOAD -ts recent. Which rule: " +
        "svirt-agent policy query GUEST_CONTEXT IMAGE_CONTEXT file open";
  }
}

function record(
  what: string,
  changes: readonly Change[],
  { guest }: AttachedGuest,
  { log, settings }: Host,
): void {
  const cause = changes.find(opens);
  try {
    log.append({
      event: "finding",
      id: cause?.kind === "boolean" ? "boolean-on" : "guest-can-open",
      severity: "high",
      guest: guest.name,
      text: what,
      evidence: {
        changes: changes.map(({ text }) => text),
        onBooleanOn: settings.onBooleanOn,
      },
      hint: hintFor(cause),
    }, { revocation: true });
  } catch {
    // Nobody is there to catch it in a timer; whoever was told has said so on the terminal.
  }
}
