/**
 * The canary witness: a QEMU without a machine, in exactly the guest's context and with its user,
 * tries with a file of the same labels on the same mounts what a guest could try that has taken its
 * QEMU over. Nothing of it is the guest's: neither its process nor its inodes are touched.
 *
 * @module
 */

import { randomBytes, randomUUID } from "node:crypto";
import { constants } from "node:fs";
import { posix } from "node:path";
import { ftruncate } from "../../ffi/libc.ts";
import type { AttachedGuest, AttachedImage } from "../attached_guest.ts";
import type { Fence } from "../guest.ts";
import type { Host } from "../host.ts";
import { FenceError, raiseFence } from "../image/fence.ts";
import type { Layer } from "../image/layer.ts";
import { type OpenImage, openImage } from "../image/open.ts";
import { isDevice } from "../image/private_node.ts";
import { reach } from "../io/step.ts";
import { labelImage } from "../label/apply.ts";
import { type Context, formatContext } from "../label/context.ts";
import { createOverlay } from "../operation/overlay.ts";
import { fenceOf, wantsFence } from "../operation/revoke_write.ts";
import { CANARY_BYTES, settleCanary } from "../operation/settle_canary.ts";
import { canaryPlaceOf } from "../process/place.ts";
import { startQemu } from "../process/start.ts";
import type { Qemu } from "../process/qemu.ts";
import { passImage } from "../qmp/pass.ts";
import { RefusedError } from "../refused_error.ts";
import { type PassedCanary, prepareCanary, tryCanary } from "./canary_attempts.ts";
import { type CanaryAttempt, type CanaryReport, type CanaryState } from "./canary_report.ts";
import { missingToReceive } from "./missing.ts";
import { requireAuditStream } from "./provoke.ts";

/** What a canary goes through; after a crash behind any of them recovery leaves nothing of it. */
export const CANARY_STEPS = [
  "intent",
  "create",
  "start",
  "pass",
  "try",
  "revoke",
  "end",
] as const;

/** One mount that images of the guest lie on, and the canary file there. */
interface Plan {
  readonly layer: Layer;
  readonly newPath: string;
  readonly mode: number;
  /** The labels that it gets, one after the other. */
  readonly states: readonly CanaryState[];
}

/**
 * Starts a canary, lets it try everything, and leaves nothing of it.
 *
 * @throws `NoAuditStreamError` where no denial could be proved; `StartError` and whatever else keeps it from answering; `SystemError` where a file cannot
 * be made beside the images.
 */
export async function runCanary(attached: AttachedGuest, host: Host): Promise<CanaryReport> {
  const step = (name: typeof CANARY_STEPS[number]) => reach("canary", name);
  requireAuditStream(host);
  const { guest, context, credential } = attached;
  const level = context.level ?? "s0";
  const plans = planCanaries(attached, fenceOf(attached, host));
  if (plans.length === 0) {
    throw new RefusedError(
      `guest ${guest.name} has block devices only: there is no folder for a canary's file`,
      `Let its own QEMU try: svirt-agent verify ${guest.name} --through-guest`,
    );
  }
  recordIntent(guest.name, plans, host);
  const opened: OpenImage[] = [];
  let qemu: Qemu | undefined;
  let failure: Error | undefined;
  try {
    step("intent");
    for (const { layer, mode } of plans) {
      const file = openImage(
        createOverlay(layer, level, credential, host, mode),
        credential,
        host.folders,
      );
      opened.push(file);
      ftruncate(file.rw!.number, CANARY_BYTES);
    }
    step("create");
    const { binary, accelerator } = guest.qemu;
    const args = ["-machine", "none", "-display", "none"];
    const command = { name: `${guest.name}-canary`, binary, accelerator, args };
    const place = canaryPlaceOf(guest.name, host.settings);
    qemu = await startQemu(command, credential, context, place, host.selinux);
    step("start");
    const files: PassedCanary[] = [];
    const attempts: CanaryAttempt[] = [];
    for (const [i, file] of opened.entries()) {
      const label = labelImage(file, level, host.selinux);
      const passed = await passImage(
        qemu,
        file,
        (access) => missingToReceive(context, label, access, host),
      );
      files.push({ file, passed, newPath: plans[i]!.newPath });
    }
    await prepareCanary(qemu, files);
    step("pass");
    for (const [i, file] of files.entries()) {
      for (const [n, state] of plans[i]!.states.entries()) {
        const label = enter(state, file.file, attached, host);
        if (label === undefined) continue;
        if (n === 1) step("revoke");
        attempts.push(...await tryCanary(qemu, file, [state, label], credential, host));
        if (n === 0) step("try");
      }
    }
    return {
      pid: qemu.process.pid,
      context: formatContext(context),
      time: new Date().toISOString(),
      attempts,
      asExpected: attempts.every(({ asExpected }) => asExpected),
    };
  } catch (error) {
    failure = error as Error;
    throw error;
  } finally {
    qemu?.[Symbol.dispose]();
    for (const file of opened) file[Symbol.dispose]();
    await settleCanary(guest.name, host, failure);
    // Until it is reaped it shows as a process with the guest's categories.
    await qemu?.process.ended;
    step("end");
  }
}

/** Labels that guests of a mount can meet: its image's own, and what revocation makes of it. */
function statesOn(images: readonly AttachedImage[], fence: Fence): CanaryState[] {
  if (images.some(({ storage }) => !storage.keepsLabels)) {
    return ["unlabelled", ...images.some((it) => wantsFence(it, fence)) ? ["fenced"] as const : []];
  }
  return [
    "writable",
    "frozen",
    ...images.some(({ layer }) => layer.shared) ? ["shared"] as const : [],
  ];
}

/** One canary file a mount, beside an image that the guest writes if there is one. */
function planCanaries({ images }: AttachedGuest, fence: Fence): Plan[] {
  const mounts = new Map<bigint, AttachedImage[]>();
  for (const image of images) {
    // A file with its label says nothing about a device, and there is no device to spare.
    if (isDevice(image.layer)) continue;
    const { mountId } = image.ro.stat();
    mounts.set(mountId, [...mounts.get(mountId) ?? [], image]);
  }
  return [...mounts.values()].map((there, i): Plan => {
    const beside = there.find(({ layer }) => layer.access === "rw") ?? there[0]!;
    const path = `${posix.dirname(beside.layer.path)}/.svirt-agent-canary-` +
      randomBytes(16).toString("hex");
    return {
      layer: {
        // A device that is plugged in, so that its descriptors are passed and not inherited.
        image: {
          ...beside.layer.image,
          name: "canary",
          path,
          backing: [],
          device: "virtio-blk-pci",
        },
        depth: 0,
        path,
        format: "raw",
        access: "rw",
        shared: false,
        fdset: i + 1,
        node: `canary${i + 1}`,
      },
      newPath: `${path}-new`,
      mode: beside.mode & 0o777 | constants.S_IRUSR | constants.S_IWUSR,
      states: statesOn(there, fence),
    };
  });
}

/** Their random names are theirs alone, so that recovery may remove what has them. */
function recordIntent(guest: string, plans: readonly Plan[], { log, agent }: Host): void {
  log.append({
    event: "intent",
    operation: "canary",
    id: randomUUID(),
    guest,
    agent,
    undo: plans.flatMap(({ layer, newPath }) =>
      [layer.path, newPath].map((path) => ({ kind: "unlink", path, identity: null }) as const)
    ),
    plan: plans.map(({ layer, states }) => ({ path: layer.path, states })),
  });
}

/**
 * Revokes as a snapshot does, by the label or by the owner.
 *
 * @returns The file's label; `undefined` where no fence can be raised, so that there is nothing to try.
 */
function enter(
  state: CanaryState,
  file: OpenImage,
  { context, credential }: AttachedGuest,
  { selinux }: Host,
): Context | undefined {
  if (state === "fenced") {
    try {
      raiseFence(file.rw!, file.openedAs, credential);
    } catch (error) {
      if (error instanceof FenceError) return undefined;
      throw error;
    }
  }
  const access = state === "frozen" || state === "shared" ? "ro" : "rw";
  const layer = { ...file.layer, access, shared: state === "shared" } as const;
  return labelImage({ ...file, layer }, context.level ?? "s0", selinux);
}
