/**
 * A snapshot: images are frozen and overlays put on top, all of them or none.
 *
 * Until QEMU has switched over, any failure undoes everything. From then on nothing is undone: the
 * old images lose their write access whatever else fails, also when the monitor is dead.
 *
 * @module
 */

import { randomUUID } from "node:crypto";
import { type AttachedGuest, type AttachedImage, letGo as close } from "../attached_guest.ts";
import type { SnapshotPlan } from "../audit/state.ts";
import { RefusedError } from "../refused_error.ts";
import type { Host } from "../host.ts";
import type { Layer } from "../image/layer.ts";
import { readOwner } from "../image/owner.ts";
import { QmpError } from "../qmp/monitor.ts";
import { headersOf } from "../verify/headers.ts";
import { freeze, type FrozenImage } from "./freeze.ts";
import { planOverlay } from "./overlay.ts";
import { fenceOf, wantsFence } from "./revoke_write.ts";
import { snapshotStep } from "./snapshot_steps.ts";
import { letGo, type Prepared, prepareOverlay } from "./prepare_overlay.ts";

/** Nobody knows whether QEMU switched over: nothing was undone and nothing revoked. */
export class UnknownOutcomeError extends Error {
  override readonly name = "UnknownOutcomeError";
  readonly hint: string =
    "While QEMU runs, its query-named-block-nodes tells which image is on top; when the guest has " +
    "ended its agent settles it. Until then neither file may be deleted.";
}

/** What a snapshot may be told. */
export interface SnapshotOptions {
  /** Folder for the overlays; absent: each lies beside its image. */
  readonly overlayIn?: string | undefined;
}

/**
 * Freezes images of a running guest.
 *
 * @param names Images to freeze; none means all that the guest can write.
 */
export async function snapshot(
  attached: AttachedGuest,
  names: readonly string[],
  host: Host,
  { overlayIn }: SnapshotOptions = {},
): Promise<FrozenImage[]> {
  requireSettled(attached, host);
  const tops = chooseTops(attached, names);
  const [differs] = headersOf(attached, host);
  if (differs !== undefined) throw differs;
  const next = unusedFdset(attached);
  const layers = tops.map((top, i) => planOverlay(top, next + i, new Date(), overlayIn));
  const operation = recordIntent(attached, tops, layers, host);
  snapshotStep("intent");

  const prepared: Prepared[] = [];
  try {
    for (const [i, layer] of layers.entries()) {
      prepared.push(await prepareOverlay(operation, attached, tops[i]!, layer, host));
    }
    snapshotStep("prepare");
    await switchOver(attached, prepared);
    snapshotStep("transaction");
  } catch (error) {
    if (error instanceof UnknownOutcomeError) {
      host.log.append({
        event: "outcome",
        operation,
        guest: attached.guest.name,
        result: "unknown",
        evidence: layers.map(({ path }) => path),
      });
      for (const { overlay } of prepared) close(overlay);
    } else await letGo(operation, attached, layers, prepared, error as Error, host);
    throw error;
  }
  return await freeze(operation, attached, prepared, host);
}

/** A set that QEMU could not empty yet would serve its old descriptors to the new overlay. */
function unusedFdset({ images, removals }: AttachedGuest): number {
  const used = [
    ...images.map(({ layer }) => layer.fdset),
    ...removals.map(({ passed }) => passed.fdset),
  ];
  return Math.max(...used) + 1;
}

/** After a snapshot of which nobody knows how it ended the block graph may be another one. */
function requireSettled({ guest: { name } }: AttachedGuest, { log }: Host): void {
  const open = [...log.state.intents.values()].find((intent) => intent.guest === name);
  if (open === undefined) return;
  throw new RefusedError(
    `${open.operation} ${open.id} of guest ${name} is not settled`,
    `Stop the guest, and its agent settles it: svirt-agent guest stop ${name}`,
  );
}

/** The images to freeze: on top of their chain and writable. */
function chooseTops({ guest, images }: AttachedGuest, names: readonly string[]): AttachedImage[] {
  const transient = ({ layer: { image } }: AttachedImage) => image.transient;
  const writable = images.filter((it) => it.layer.access === "rw" && !transient(it));
  for (const name of names) {
    if (writable.some(({ layer }) => layer.image.name === name)) continue;
    if (images.some((it) => it.layer.image.name === name && transient(it))) {
      throw new RefusedError(
        `image "${name}" of guest ${guest.name} is transient: what it would freeze is thrown away`,
        "Leave out transient = true in the guest file, and start the guest again.",
      );
    }
    const all = writable.map(({ layer }) => layer.image.name).join(", ") || "none";
    throw new RefusedError(
      `guest ${guest.name} has no image "${name}" that it can write`,
      `It can write: ${all}.`,
    );
  }
  const chosen = writable.filter(({ layer }) =>
    names.length === 0 || names.includes(layer.image.name)
  );
  if (chosen.length > 0) return chosen;
  throw new RefusedError(`guest ${guest.name} has no image that it can write`);
}

function recordIntent(
  attached: AttachedGuest,
  tops: readonly AttachedImage[],
  layers: readonly Layer[],
  host: Host,
): string {
  const { guest } = attached;
  const { log, agent } = host;
  const id = randomUUID();
  const fenced = tops.filter((top) => wantsFence(top, fenceOf(attached, host)));
  log.append({
    event: "intent",
    operation: "snapshot",
    id,
    guest: guest.name,
    agent,
    undo: [
      // Its random name is its identity until it exists.
      ...layers.map(({ path }) => ({ kind: "unlink", path, identity: null }) as const),
      ...fenced.map(({ layer: { path }, identity, ro }) =>
        ({ kind: "owner", path, identity, ...readOwner(ro) }) as const
      ),
    ],
    plan: tops.map(({ layer }, i) => ({
      freeze: layer.path,
      overlay: layers[i]!.path,
    })) satisfies SnapshotPlan,
  });
  return id;
}

/**
 * One QMP transaction for all images. QAPI `transaction`, `blockdev-snapshot`.
 *
 * @throws {@linkcode UnknownOutcomeError} when QEMU did not answer and cannot be asked.
 */
async function switchOver({ qemu: { monitor } }: AttachedGuest, prepared: readonly Prepared[]) {
  const actions = prepared.map(({ old, overlay }) => ({
    type: "blockdev-snapshot",
    data: { node: old.layer.node, overlay: overlay.layer.node },
  }));
  try {
    await monitor.execute("transaction", { actions });
  } catch (error) {
    if (error instanceof QmpError) throw error;
    if (await isOnTop(monitor, prepared[0]!)) return;
    throw error;
  }
}

/** Did the first overlay get its backing node? All of a transaction happens or nothing. */
async function isOnTop(
  monitor: AttachedGuest["qemu"]["monitor"],
  { overlay }: Prepared,
): Promise<boolean> {
  try {
    const nodes = await monitor.execute("query-named-block-nodes", { flat: false }) as {
      "node-name"?: string;
      backing_file_depth?: number;
    }[];
    const node = nodes.find((node) => node["node-name"] === overlay.layer.node);
    if (node?.backing_file_depth !== undefined) return node.backing_file_depth > 0;
  } catch {
    // Silent still, or gone.
  }
  throw new UnknownOutcomeError("QEMU did not answer whether the snapshot was taken");
}
