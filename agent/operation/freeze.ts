import type { AttachedGuest, AttachedImage } from "../attached_guest.ts";
import type { Host } from "../host.ts";
import { fileNode, formatNode } from "../qmp/graph.ts";
import { type ImageVerdict, verifyGuest } from "../verify/guest.ts";
import type { Prepared } from "./prepare_overlay.ts";
import { QEMU_MS, removeOld } from "./removal.ts";
import { type FrozenImage, revocation } from "./revocation.ts";
import { revokeWrite } from "./revoke_write.ts";
import { snapshotStep } from "./snapshot_steps.ts";
import { tellError } from "./tell_error.ts";

export type { FrozenImage };

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
  const pending = await removeOld(operation, attached, prepared, attempt);
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
      ...(pending.has(old.identity) && { pending: true }),
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

/** The image as it is from now on: below the overlay, read-only. */
export function asBacking(old: AttachedImage): AttachedImage {
  const layer = { ...old.layer, access: "ro", depth: old.layer.depth + 1 } as const;
  return { ...old, layer, passed: { ...old.passed, rw: undefined } };
}

function belowOf({ layer }: AttachedImage, { images }: AttachedGuest): AttachedImage | undefined {
  // The others have not moved down yet.
  return images.find((other) =>
    other.layer.image === layer.image && other.layer.depth === layer.depth
  );
}

/** Puts overlays in front of their images, which become `frozen`. */
export function putOnTop(
  { images }: Pick<AttachedGuest, "images">,
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
