import type { AttachedGuest, AttachedImage } from "../attached_guest.ts";
import type { Undo } from "../audit/event.ts";
import type { Reference, State } from "../audit/state.ts";
import { grantsOf } from "../grant/grant.ts";
import type { Host } from "../host.ts";
import { type Folder, openParent } from "../image/folder.ts";
import { ImageError } from "../image/image_error.ts";
import type { Inspected } from "../image/inspect.ts";
import type { Layer } from "../image/layer.ts";
import { keep, openImage } from "../image/open.ts";
import { headerOf } from "../image/pinned.ts";
import { isDevice } from "../image/private_node.ts";
import { labelImage } from "../label/apply.ts";
import { formatContext } from "../label/context.ts";
import type { Access } from "../owned_fd.ts";
import { missingToReceive } from "../verify/missing.ts";
import { listFds } from "../qmp/fdset.ts";
import { fileNode, formatNode, runAll } from "../qmp/graph.ts";
import { runJob } from "../qmp/job.ts";
import { passImage } from "../qmp/pass.ts";
import { tellError } from "./tell_error.ts";
import { createOverlay, unlinkOverlay } from "./overlay.ts";
import { snapshotStep } from "./snapshot_steps.ts";

/** An overlay that QEMU has opened, and the image it will lie on. */
export interface Prepared {
  readonly old: AttachedImage;
  readonly overlay: AttachedImage;
}

/** For what an overlay is made. */
export interface Purpose {
  readonly reason: "snapshot" | "attach";
  /** Its backing node; `null` where blockdev-snapshot is to attach it. */
  readonly backing: string | null;
}

const CREATE_MS = 60_000;

/**
 * Makes an overlay and hands it to QEMU, which writes its header; nothing of the guest changes yet.
 *
 * @throws What any of the steps throws; {@linkcode letGo} then takes all of it back.
 */
export async function prepareOverlay(
  operation: string,
  attached: AttachedGuest,
  old: AttachedImage,
  layer: Layer,
  host: Host,
  { reason, backing }: Purpose = { reason: "snapshot", backing: null },
): Promise<Prepared> {
  const { guest, context, credential, qemu } = attached;
  const level = context.level ?? "s0";
  const found = createOverlay(layer, level, credential, host);
  recordOverlay(operation, guest.name, level, reason, old, found, host);
  if (reason === "snapshot") snapshotStep("create");
  using opened = openImage(found, credential, host.folders);
  const label = labelImage(opened, level, host.selinux);
  const lacks = (access: Access) => missingToReceive(context, label, access, host);
  const passed = await passImage(qemu, opened, lacks);
  const kept = keep(opened);
  try {
    await writeHeader(attached, old, found, host.folders);
    await runAll(qemu.monitor, [formatNode(layer, backing)]);
    const { openedAs } = opened;
    return { old, overlay: { ...found, label, passed, openedAs, ...kept } };
  } catch (error) {
    for (const fd of Object.values(kept)) fd?.[Symbol.dispose]();
    throw error;
  }
}

/**
 * The overlay exists: its grants, and the label and owner it gets when its guest is detached, which
 * are those of the image that it takes the place of; one that is removed then gets none.
 */
function recordOverlay(
  operation: string,
  guest: string,
  level: string,
  reason: Purpose["reason"],
  old: AttachedImage,
  overlay: Inspected,
  host: Host,
): void {
  const { layer: { path }, identity } = overlay;
  host.log.transact((state) => {
    const intent = state.intents.get(operation);
    if (intent === undefined) throw new Error(`Operation ${operation} is not in the log`);
    requireNobodys(overlay, state);
    const { seq: _seq, time: _time, prev: _prev, hash: _hash, ...event } = intent;
    const original = isDevice(old.layer)
      ? asNew(overlay, host)
      : state.references.get(old.identity)?.original;
    const { label, owner } = (reason === "snapshot" ? original : undefined) ?? {};
    const undo: Undo[] = [
      ...event.undo.filter((it) => it.kind !== "unlink" || it.path !== path),
      { kind: "unlink", path, identity },
      ...(label === undefined ? [] : [{ kind: "label", path, identity, label } as const]),
      ...(owner === undefined ? [] : [{ kind: "owner", path, identity, ...owner } as const]),
    ];
    const grants = grantsOf(guest, operation, level, overlay, reason);
    return { events: [{ ...event, undo }, ...grants], result: undefined };
  });
}

/**
 * The label and owner of a file that root makes where the overlay is: those of a block device would
 * not do for a file.
 */
function asNew(
  { layer: { path }, storage, mode }: Inspected,
  { folders, selinux }: Host,
): Reference["original"] {
  if (!storage.keepsLabels) return {};
  using folder = openParent(folders, path);
  const label = selinux.readLabel(folder);
  const owner = { uid: 0, gid: 0, mode };
  return { ...(label && { label: formatContext(label) }), owner };
}

/** A file that has just been made is in nobody's hands: one that is was put in its place. */
function requireNobodys({ identity, layer: { path } }: Inspected, { references }: State): void {
  const [user] = references.get(identity)?.users ?? [];
  if (user === undefined) return;
  throw new ImageError("replaced", path, `is ${identity} now, which ${user.guest} has`, {
    hint: "Somebody renames files in this folder. Find out who.",
  });
}

/** Creates the qcow2 header through QEMU, by descriptor, and reads it back. QAPI `blockdev-create`. */
async function writeHeader(
  { qemu: { monitor } }: AttachedGuest,
  old: AttachedImage,
  overlay: Inspected,
  folders: readonly Folder[],
): Promise<void> {
  const { layer } = overlay;
  const { virtualSize } = headerOf(old, folders);
  await runAll(monitor, [fileNode(layer)]);
  await runJob(monitor, `${layer.node}-create`, () =>
    monitor.execute("blockdev-create", {
      "job-id": `${layer.node}-create`,
      options: {
        driver: "qcow2",
        file: `${layer.node}.file`,
        size: Number(virtualSize),
        // The real name: /dev/fdset/N in a header would mean another file tomorrow.
        "backing-file": old.layer.path,
        "backing-fmt": old.layer.format,
      },
    }), CREATE_MS);
  const header = headerOf(overlay, folders);
  if (header.backingFile !== old.layer.path || header.backingFormat !== old.layer.format) {
    throw new ImageError(
      "header-differs",
      layer.path,
      `got a header that names ${header.backingFile} (${header.backingFormat}) as its backing file`,
      {
        hint: `Expected ${old.layer.path} (${old.layer.format}). QEMU cannot be trusted: stop it.`,
      },
    );
  }
}

/**
 * Takes back what a snapshot prepared before QEMU switched over.
 *
 * @param prepared Those that got as far; of `layers`, any may exist as a file: the log knows which.
 */
export async function letGo(
  operation: string,
  { guest, qemu: { monitor }, removals }: AttachedGuest,
  layers: readonly Layer[],
  prepared: readonly Prepared[],
  error: Error,
  host: Host,
): Promise<void> {
  const did: string[] = [];
  const made = host.log.state.intents.get(operation)?.undo ?? [];
  for (const { node, fdset, path } of layers) {
    for (const name of [node, `${node}.file`]) {
      await monitor.execute("blockdev-del", { "node-name": name }).catch(() => {});
    }
    // Without a descriptor number: the whole set.
    await monitor.execute("remove-fd", { "fdset-id": fdset }).catch(() => {});
    const stays = await listFds(monitor).catch(() => []);
    for (const { number } of stays.filter((fd) => fd.fdset === fdset)) {
      removals.push({ passed: { fdset, number } });
    }
    for (const it of made) {
      if (it.kind === "unlink" && it.path === path) {
        did.push(...unlinkOverlay(path, it.identity, host));
      }
    }
  }
  for (const { overlay } of prepared) {
    overlay.ro[Symbol.dispose]();
    overlay.locked[Symbol.dispose]();
  }
  host.log.append({
    event: "outcome",
    operation,
    guest: guest.name,
    result: "undone",
    error: tellError(error),
    evidence: did,
  }, { revocation: true });
}
