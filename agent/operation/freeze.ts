import type { AttachedGuest, AttachedImage } from "../attached_guest.ts";
import type { AuditEvent } from "../audit/event.ts";
import type { Host } from "../host.ts";
import type { Grade } from "../label/mount.ts";
import { removeFd } from "../qmp/fdset.ts";
import { fdsetBehaviour } from "../qmp/version.ts";
import { fileNode, formatNode } from "../qmp/graph.ts";
import { type ImageVerdict, verifyGuest } from "../verify/guest.ts";
import type { Prepared } from "./prepare_overlay.ts";
import { revokeWrite } from "./revoke_write.ts";
import { snapshotStep } from "./snapshot_steps.ts";
import { tellError } from "./tell_error.ts";

/** What became of one image. */
export interface FrozenImage {
  readonly image: string;
  /** The frozen file. */
  readonly path: string;
  readonly overlay: string;
  /** Who guarantees that it cannot be written; absent when it still can be. */
  readonly grade?: Grade;
  /** Absent when QEMU was gone before it could be asked about. */
  readonly verdict?: ImageVerdict;
  /** What did not work; the revocation was carried out all the same. */
  readonly problems: readonly string[];
}

/** How long QEMU may take over what it is asked: a hostile one must not put off the relabel. */
const QEMU_MS = 3_000;

/** What {@linkcode freeze} takes away from: QEMU runs on the overlay already. */
export async function freeze(
  operation: string,
  attached: AttachedGuest,
  prepared: readonly Prepared[],
  host: Host,
): Promise<FrozenImage[]> {
  const { qemu: { monitor }, guest } = attached;
  const problems: Error[] = [];
  const attempt = async (work: () => Promise<unknown>) => {
    try {
      await work();
    } catch (error) {
      problems.push(error as Error);
    }
  };
  const frozen = prepared.map(({ old }) => asBacking(old));
  const below = frozen.map((image) => belowOf(image, attached)?.layer.node ?? null);

  await attempt(() =>
    monitor.execute("blockdev-reopen", {
      options: frozen.flatMap(({ layer }, i) => [
        formatNode(layer, below[i]!).arguments,
        fileNode(layer).arguments,
      ]),
    }, { timeoutMs: QEMU_MS })
  );
  snapshotStep("reopen");
  for (const { old } of prepared) {
    if (old.passed.rw !== undefined) {
      await attempt(() => removeFd(monitor, old.passed.rw!, QEMU_MS));
    }
  }
  await attempt(() => requireRemoved(attached));
  snapshotStep("remove");
  const relabelled = frozen.map((image) => revokeWrite(image, attached, host, problems));
  snapshotStep("relabel");
  putOnTop(attached, prepared, relabelled);

  let verdicts: readonly ImageVerdict[] = [];
  await attempt(() => Promise.resolve(verdicts = verifyGuest(attached, host).verdicts));
  snapshotStep("verify");
  const told = problems.map(({ message }) => message);
  const results = prepared.map(({ old, overlay }): FrozenImage => {
    const verdict = verdicts.find(({ identity }) => identity === old.identity);
    const grade = verdict?.asExpected ? verdict.grade : undefined;
    return {
      image: old.layer.image.name,
      path: old.layer.path,
      overlay: overlay.layer.path,
      ...(grade && { grade }),
      ...(verdict && { verdict }),
      problems: told,
    };
  });
  host.log.transact(() => ({
    events: [
      ...results.map((result, i) => revocation(operation, guest.name, prepared[i]!.old, result)),
      {
        event: "outcome",
        operation,
        guest: guest.name,
        result: "done",
        ...(problems[0] && { error: tellError(problems[0]) }),
      },
    ],
    result: undefined,
  }), { revocation: true });
  snapshotStep("record");
  return results;
}

/** Without a grade the grant to write stays open in the log: nobody has seen it gone. */
function revocation(
  operation: string,
  guest: string,
  { layer, identity, storage }: AttachedImage,
  { grade, verdict, problems }: FrozenImage,
): AuditEvent {
  const evidence = { problems, ...(verdict && { label: verdict.label, ...verdict.witnesses }) };
  const about = { guest, image: layer.image.name, path: layer.path, identity };
  if (grade !== undefined) {
    const mechanism = grade === "enforced (server)" ? "fence" : storage.revocation;
    return { event: "revoke", operation, ...about, left: "ro", mechanism, grade, evidence };
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

/** QEMU before 9.1 answers success to remove-fd while the guest is paused, and does nothing. */
async function requireRemoved({ qemu: { monitor } }: AttachedGuest): Promise<void> {
  if (fdsetBehaviour(monitor.version).removesWhilePaused) return;
  const status = await monitor.execute("query-status", {}, { timeoutMs: QEMU_MS });
  if ((status as { running?: unknown } | null)?.running === true) return;
  throw new Error("the guest is paused: QEMU keeps the old descriptors until it runs (pending)");
}

/** The image as it is from now on: below the overlay, read-only. */
function asBacking(old: AttachedImage): AttachedImage {
  const layer = { ...old.layer, access: "ro", depth: old.layer.depth + 1 } as const;
  return { ...old, layer, passed: { ...old.passed, rw: undefined } };
}

function belowOf({ layer }: AttachedImage, { images }: AttachedGuest): AttachedImage | undefined {
  // The others have not moved down yet.
  return images.find((other) =>
    other.layer.image === layer.image && other.layer.depth === layer.depth
  );
}

function putOnTop(
  { images }: AttachedGuest,
  prepared: readonly Prepared[],
  frozen: readonly AttachedImage[],
): void {
  for (const [i, { old, overlay }] of prepared.entries()) {
    const moved = images.map((image): AttachedImage => {
      if (image === old) return frozen[i]!;
      if (image.layer.image !== old.layer.image) return image;
      return { ...image, layer: { ...image.layer, depth: image.layer.depth + 1 } };
    });
    moved.splice(images.indexOf(old), 0, overlay);
    images.splice(0, images.length, ...moved);
  }
}
