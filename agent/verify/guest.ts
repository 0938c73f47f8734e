import type { AttachedGuest, AttachedImage } from "../attached_guest.ts";
import type { Host } from "../host.ts";
import { layerName } from "../image/layer.ts";
import { classOf } from "../label/assign.ts";
import { type Context, formatContext, isAtLevel } from "../label/context.ts";
import { guestDomains } from "../label/domain.ts";
import type { Grade } from "../label/mount.ts";
import type { Access, Identity } from "../owned_fd.ts";
import { membersOf } from "../process/cgroup.ts";
import { processContexts } from "../process/contexts.ts";
import { type Descriptor, descriptorsOf } from "../process/descriptor.ts";
import { MonitorError } from "../qmp/monitor.ts";
import {
  type CanaryReport,
  type CanaryWitness,
  canaryWitness,
  disagreements,
} from "./canary_report.ts";
import { type Expected, expectedOfOwn } from "./expected.ts";
import { findDifferences, type Found } from "./find_differences.ts";
import { headersOf } from "./headers.ts";
import { otherGuests } from "./other_guest.ts";
import { policyWitness } from "./policy_witness.ts";
import { type Difference, permissiveDifference } from "./promise.ts";
import { serverWitness } from "./server_witness.ts";
import type { Decision, Verdict } from "./verdict.ts";

/** What was found out about one file of a guest. */
export interface ImageVerdict extends Found {
  readonly image: string;
  readonly path: string;
  readonly identity: Identity;
  readonly label: string;
  readonly verdict: Verdict;
  readonly expected: Expected;
  readonly asExpected: boolean;
  /** Who guarantees that it cannot be written; for what the guest may not write. */
  readonly grade?: Grade;
  readonly witnesses: {
    readonly policy: Verdict;
    /** What the NFS server says to a write through the descriptor that was passed; behind a fence. */
    readonly server?: Decision;
    /** Modes in which QEMU's process holds the file; /proc, so cooperative at most. */
    readonly holds: readonly Access[];
    /** What a canary could do with a file of this label, on this mount; another inode. */
    readonly canary?: CanaryWitness;
  };
}

/** What was found out about a guest. */
export interface GuestVerdict {
  readonly context: string;
  readonly pid: number;
  readonly verdicts: readonly ImageVerdict[];
  /** What is wrong besides verdicts: a permissive domain, a file that nobody granted. */
  readonly problems: readonly string[];
  /** What to do about what differs. */
  readonly hints: readonly string[];
  /** What a canary showed, if that holds now. */
  readonly canary?: CanaryReport;
  readonly asExpected: boolean;
}

/** A guest could do what it must not, or cannot do what it should. */
export class VerdictError extends Error {
  override readonly name = "VerdictError";
  readonly hint: string;

  constructor(
    message: string,
    hint = "The policy differs from what the agent needs. See: svirt-agent verify GUEST",
  ) {
    super(message);
    this.hint = hint;
  }
}

/**
 * Asks the policy about everything the guest has, by the contexts that the kernel shows now, and
 * records the answer.
 *
 * @param canary What a canary showed; the other witness, where the two differ it is a finding.
 */
export function verifyGuest(
  attached: AttachedGuest,
  host: Host,
  canary?: CanaryReport,
): GuestVerdict {
  const { guest, qemu: { process: { pid } } } = attached;
  const context = host.selinux.processContext(pid);
  if (context === undefined) {
    throw new MonitorError(`QEMU (pid ${pid}) is gone`, "Start the guest again: svirt-agent run");
  }
  const held = descriptorsOf(pid);
  const others = otherGuests(attached.context, guestDomains(host.selinux));
  const permissive = permissiveDomains(attached, others, host);
  const verdicts = attached.images.map((image) => {
    const { grade, ...verdict } = verifyImage(attached, image, held, others, host, canary);
    // What the rules deny is no grade where nothing is denied.
    if (permissive.length > 0) return { ...verdict, asExpected: false };
    return { ...verdict, ...(grade && { grade }) };
  });
  const problems = [
    ...formatContext(context) === formatContext(attached.context)
      ? []
      : [`QEMU runs as ${formatContext(context)}, not as ${formatContext(attached.context)}`],
    ...permissive.map(({ text }) => text),
    ...foreign(attached, held),
    ...strangers(attached),
    ...headersOf(attached, host).map(({ message }) => message),
    ...verdicts.flatMap(({ path, witnesses }) =>
      disagreements(
        path,
        { ...witnesses.policy, ...(witnesses.server && { write: witnesses.server }) },
        witnesses.canary,
      )
    ),
  ];
  const asExpected = problems.length === 0 && canary?.asExpected !== false &&
    verdicts.every((verdict) => verdict.asExpected);
  const found = [...permissive, ...verdicts.flatMap(({ differences }) => differences)];
  const hints = [...new Set(found.map(({ hint }) => hint))];
  const shown = canary && { canary };
  host.log.append({ event: "verify", guest: guest.name, verdicts, ...shown, asExpected });
  return { context: formatContext(context), pid, verdicts, problems, hints, ...shown, asExpected };
}

function verifyImage(
  { context }: AttachedGuest,
  image: AttachedImage,
  held: readonly Descriptor[],
  others: readonly Context[],
  { selinux, policy }: Host,
  report: CanaryReport | undefined,
): ImageVerdict {
  const { layer, identity, locked, storage, fenced } = image;
  const label = selinux.readLabel(locked);
  if (label === undefined) throw new VerdictError(`"${layer.path}" has no label`);
  const own = selinux.ownContext();
  const fileClass = classOf(layer);
  const witness = policyWitness(context, label, own, policy, fileClass).verdict;
  const server = fenced &&
    serverWitness(fenced, policy.access(own, label, fileClass).decide("write"));
  const holds = [
    ...new Set(held.filter((fd) => fd.identity === identity).map(({ access }) => access)),
  ];
  // Where labels decide, holding no descriptor is no excuse for a label that lets one write.
  const verdict = storage.keepsLabels
    ? witness
    : server
    ? { ...witness, write: server }
    : withDescriptors(witness, holds);
  const grade = server?.answer === "denied" ? "enforced (server)" : storage.grade;
  const found = findDifferences(context, label, image, verdict, others, policy);
  const asExpected = found.differences.length === 0;
  const canary = report && canaryWitness(report, image);
  return {
    image: layerName(layer),
    path: layer.path,
    identity,
    label: formatContext(label),
    verdict,
    expected: expectedOfOwn(layer.access),
    asExpected,
    ...found,
    ...(layer.access === "ro" && asExpected && { grade }),
    witnesses: {
      policy: witness,
      ...(server && { server }),
      holds,
      ...(canary && { canary }),
    },
  };
}

/**
 * Where the policy would let it write, it still needs a descriptor to write through. That it holds
 * none is QEMU's word and /proc's: the grade of such storage is cooperative.
 */
function withDescriptors(policy: Verdict, holds: readonly Access[]): Verdict {
  if (policy.write.answer !== "allowed" || holds.includes("rw")) return policy;
  return { ...policy, write: { answer: "denied", by: "other" } };
}

/** Domains of guests, this one's or another's, to which nothing is denied. */
function permissiveDomains(
  { context, images }: AttachedGuest,
  others: readonly Context[],
  { policy, selinux }: Host,
): Difference[] {
  const label = images[0]?.label ?? context;
  return others
    .filter((other) => policyWitness(other, label, selinux.ownContext(), policy).permissive)
    .map(({ type }) => permissiveDifference(type, context.type));
}

/** Regular files that QEMU holds open for writing and that nobody granted. */
function foreign({ images }: AttachedGuest, held: readonly Descriptor[]): string[] {
  const granted = new Set(images.map(({ identity }) => identity));
  return held
    .filter(({ isRegular, access, identity }) =>
      isRegular && access === "rw" && !granted.has(identity)
    )
    .map(({ number, path }) => `descriptor ${number} is ${path}, which nobody granted`);
}

/** Processes outside the guest's cgroup with its two categories: its images are theirs as well. */
function strangers({ context, place }: AttachedGuest): string[] {
  const members = new Set(membersOf(place.cgroup));
  return processContexts()
    .filter((it) => context.level !== undefined && isAtLevel(it.context, context.level))
    .filter(({ pid }) => !members.has(pid))
    .map((it) => `process ${it.pid} (${it.context}) has this guest's categories`);
}

/** @throws {@linkcode VerdictError} naming all that is not as it has to be. */
export function requireExpected({ verdicts, problems, hints, asExpected }: GuestVerdict): void {
  if (asExpected) return;
  const differences = verdicts.flatMap(({ differences }) => differences.map(({ text }) => text));
  const hint = hints.length === 0 ? undefined : hints.join("; ");
  throw new VerdictError([...problems, ...differences].join("; "), hint);
}
