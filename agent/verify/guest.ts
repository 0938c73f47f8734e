import type { AttachedGuest, AttachedImage } from "../attached_guest.ts";
import type { Host } from "../host.ts";
import { layerName } from "../image/layer.ts";
import { formatContext, isAtLevel } from "../label/context.ts";
import type { Grade } from "../label/mount.ts";
import type { Access, Identity } from "../owned_fd.ts";
import { membersOf } from "../process/cgroup.ts";
import { processContexts } from "../process/contexts.ts";
import { type Descriptor, descriptorsOf } from "../process/descriptor.ts";
import { differences, type Expected, expectedOfOwn } from "./expected.ts";
import { policyWitness } from "./policy_witness.ts";
import { serverWitness } from "./server_witness.ts";
import type { Decision, Verdict } from "./verdict.ts";

/** What was found out about one file of a guest. */
export interface ImageVerdict {
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
  };
}

/** What was found out about a guest. */
export interface GuestVerdict {
  readonly context: string;
  readonly pid: number;
  readonly verdicts: readonly ImageVerdict[];
  /** What is wrong besides verdicts: a permissive domain, a file that nobody granted. */
  readonly problems: readonly string[];
  readonly asExpected: boolean;
}

/** A guest could do what it must not, or cannot do what it should. */
export class VerdictError extends Error {
  override readonly name = "VerdictError";
  readonly hint = "The policy differs from what the agent needs. See: svirt-agent verify GUEST";
}

/**
 * Asks the policy about everything the guest has, by the contexts that the kernel shows now, and
 * records the answer.
 */
export function verifyGuest(attached: AttachedGuest, host: Host): GuestVerdict {
  const { guest, qemu: { process: { pid } } } = attached;
  const context = host.selinux.processContext(pid);
  if (context === undefined) throw new VerdictError(`QEMU (pid ${pid}) is gone`);
  const held = descriptorsOf(pid);
  const verdicts = attached.images.map((image) => verifyImage(attached, image, held, host));
  const problems = [
    ...formatContext(context) === formatContext(attached.context)
      ? []
      : [`QEMU runs as ${formatContext(context)}, not as ${formatContext(attached.context)}`],
    ...isPermissive(attached, host)
      ? [`${context.type} is permissive: nothing is denied to it`]
      : [],
    ...foreign(attached, held),
    ...strangers(attached),
  ];
  const asExpected = problems.length === 0 && verdicts.every((verdict) => verdict.asExpected);
  host.log.append({ event: "verify", guest: guest.name, verdicts, asExpected });
  return { context: formatContext(context), pid, verdicts, problems, asExpected };
}

function verifyImage(
  { context }: AttachedGuest,
  { layer, identity, locked, storage, fenced }: AttachedImage,
  held: readonly Descriptor[],
  { selinux, policy }: Host,
): ImageVerdict {
  const label = selinux.readLabel(locked);
  if (label === undefined) throw new VerdictError(`"${layer.path}" has no label`);
  const own = selinux.ownContext();
  const witness = policyWitness(context, label, own, policy).verdict;
  const server = fenced &&
    serverWitness(fenced, policy.access(own, label, "file").decide("write"));
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
  const expected = expectedOfOwn(layer.access);
  return {
    image: layerName(layer),
    path: layer.path,
    identity,
    label: formatContext(label),
    verdict,
    expected,
    asExpected: differences(verdict, expected).length === 0,
    ...(layer.access === "ro" && verdict.write.answer === "denied" && { grade }),
    witnesses: { policy: witness, ...(server && { server }), holds },
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

function isPermissive({ context, images }: AttachedGuest, { policy, selinux }: Host): boolean {
  const label = images[0]?.label ?? context;
  return policyWitness(context, label, selinux.ownContext(), policy).permissive;
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

/** @throws {@linkcode VerdictError} naming the first thing that is not as it has to be. */
export function requireExpected({ verdicts, problems, asExpected }: GuestVerdict): void {
  if (asExpected) return;
  const bad = verdicts.filter((verdict) => !verdict.asExpected).map(describe);
  throw new VerdictError([...problems, ...bad].join("; "));
}

function describe({ path, label, verdict, expected }: ImageVerdict): string {
  const wrong = differences(verdict, expected).map((key) =>
    `${key} is ${verdict[key].answer} (${verdict[key].by}), expected ${expected[key]}`
  );
  return `"${path}" (${label}): ${wrong.join(", ")}`;
}
