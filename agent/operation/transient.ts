import type { AttachedGuest, AttachedImage } from "../attached_guest.ts";
import type { Host } from "../host.ts";
import type { Layer } from "../image/layer.ts";
import { device, runAll } from "../qmp/graph.ts";
import { asBacking, putOnTop } from "./freeze.ts";
import { planOverlay } from "./overlay.ts";
import { prepareOverlay } from "./prepare_overlay.ts";

/**
 * Gives a guest that does not run yet what it may write of its transient images: an overlay on each,
 * beside it, which goes when the guest is detached or its attach undone. The image itself is there
 * already, read-only, with its nodes and without a device.
 */
export async function addTransient(attached: AttachedGuest, host: Host): Promise<void> {
  const { guest, operation, images, qemu: { monitor } } = attached;
  const tops = images.filter(({ layer }) => layer.depth === 0 && layer.image.transient);
  if (tops.length === 0) return;
  const next = Math.max(...images.map(({ layer }) => layer.fdset)) + 1;
  const layers = tops.map((top, i) => planOverlay(top, next + i, new Date()));
  recordPlanned(operation, layers, host);
  for (const [i, top] of tops.entries()) {
    const purpose = { reason: "attach", backing: top.layer.node } as const;
    const made = await prepareOverlay(operation, attached, top, layers[i]!, host, purpose);
    putOnTop(attached, [made], [asBacking(top)] satisfies AttachedImage[]);
    await runAll(monitor, [device(layers[i]!, guest)]);
  }
}

/** Their random names are their identities until they exist. */
function recordPlanned(operation: string, layers: readonly Layer[], { log }: Host): void {
  log.transact((state) => {
    const intent = state.intents.get(operation);
    if (intent === undefined) throw new Error(`Operation ${operation} is not in the log`);
    const { seq: _seq, time: _time, prev: _prev, hash: _hash, ...event } = intent;
    const unlink = layers.map(({ path }) => ({ kind: "unlink", path, identity: null } as const));
    return { events: [{ ...event, undo: [...event.undo, ...unlink] }], result: undefined };
  });
}
