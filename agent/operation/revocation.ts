import type { AttachedImage } from "../attached_guest.ts";
import type { AuditEvent } from "../audit/event.ts";
import type { Grade } from "../label/mount.ts";
import type { ImageVerdict } from "../verify/guest.ts";

/** What became of one image. */
export interface FrozenImage {
  readonly image: string;
  /** The frozen file. */
  readonly path: string;
  readonly overlay: string;
  /** Who guarantees that it cannot be written; absent when it still can be. */
  readonly grade?: Grade;
  /** QEMU keeps its read-write descriptor until the guest runs; then the agent takes it away. */
  readonly pending?: true;
  /** Absent when QEMU was gone before it could be asked about. */
  readonly verdict?: ImageVerdict;
  /** What did not work; the revocation was carried out all the same. */
  readonly problems: readonly string[];
}

/** What was seen of a frozen image. */
export type Seen = Pick<FrozenImage, "grade" | "pending" | "verdict" | "problems">;

/** Without a grade the grant to write stays open in the log: nobody has seen it gone. */
export function revocation(
  operation: string,
  guest: string,
  { layer, identity, storage }: AttachedImage,
  { grade, pending, verdict, problems }: Seen,
): AuditEvent {
  const evidence = {
    problems,
    ...(pending && { pending }),
    ...(verdict && { label: verdict.label, ...verdict.witnesses }),
  };
  const about = { guest, image: layer.image.name, path: layer.path, identity };
  if (grade !== undefined) {
    const mechanism = grade === "enforced (server)" ? "fence" : storage.revocation;
    return { event: "revoke", operation, ...about, left: "ro", mechanism, grade, evidence };
  }
  if (pending) {
    return {
      event: "finding",
      id: "revocation-pending",
      severity: "medium",
      guest,
      text: `"${layer.path}" is frozen, and QEMU keeps the descriptor that can write it`,
      evidence: { ...about, ...evidence },
      hint: "QEMU before 9.1 gives up nothing while its guest is paused. Let it run.",
    };
  }
  return {
    event: "finding",
    id: "not-revoked",
    severity: "high",
    guest,
    text: `"${layer.path}" is frozen, and that it cannot be written was not seen`,
    evidence: { ...about, ...evidence },
    hint: "Stop the guest: its QEMU may still hold a descriptor that writes.",
  };
}
