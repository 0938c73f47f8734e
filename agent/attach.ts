/**
 * The story. A guest gets its images: each file is inspected, granted on record, opened for it,
 * locked, labelled and passed; then it is proved that the guest can use what it was handed and open
 * nothing, and only then does it run.
 *
 * @module
 */

import { type AttachedGuest, attachedGuest, type AttachedImage, letGo } from "./attached_guest.ts";
import { grantImages } from "./grant/grant.ts";
import type { Guest } from "./guest.ts";
import type { Host } from "./host.ts";
import { isCold } from "./image/device.ts";
import { inspectImages } from "./image/inspect.ts";
import { chainsOf } from "./image/layer.ts";
import { keep, type OpenImage, openImage } from "./image/open.ts";
import { reach } from "./io/step.ts";
import { labelImage, makeNode } from "./label/apply.ts";
import { classOf } from "./label/assign.ts";
import { guestContext } from "./label/domain.ts";
import { requireClosed, requireEnforcing } from "./label/ready.ts";
import { addTransient } from "./operation/transient.ts";
import { undo } from "./operation/undo.ts";
import { whyFailed } from "./operation/why_failed.ts";
import { placeOf } from "./process/place.ts";
import { guestCommand, startQemu } from "./process/start.ts";
import type { Qemu } from "./process/qemu.ts";
import { credentialOf } from "./process/user.ts";
import { imageGraph, runAll } from "./qmp/graph.ts";
import { passImage } from "./qmp/pass.ts";
import { probeFdsets } from "./qmp/probe.ts";
import type { Access } from "./owned_fd.ts";
import { missingToReceive } from "./verify/missing.ts";
import { requireExpected, verifyGuest } from "./verify/guest.ts";

/** What an attach goes through; a crash after any of them is undone by `guest recover`. */
export const ATTACH_STEPS = [
  "grant",
  "open",
  "label",
  "start",
  "pass",
  "graph",
  "verify",
  "record",
] as const;

/** Starts a guest, with its images attached, stopped until it is told to `cont`. */
export async function attach(guest: Guest, host: Host): Promise<AttachedGuest> {
  const step = (name: typeof ATTACH_STEPS[number]) => reach("attach", name);
  requireEnforcing(host.selinux);
  const credential = credentialOf(guest);
  const place = placeOf(guest.name, host.settings);
  const found = inspectImages(guest, host);
  requireClosed(found.map(({ storage }) => storage), host.booleans);

  const { operation, level } = grantImages(guest, found, credential, place.cgroup, host);
  const opened: OpenImage[] = [];
  const images: AttachedImage[] = [];
  let qemu: Qemu | undefined;
  try {
    step("grant");
    for (const image of found) {
      makeNode(image, level, credential, host.selinux);
      opened.push(openImage(image, credential, host.folders));
    }
    step("open");
    const labels = opened.map((image) => labelImage(image, level, host.selinux));
    step("label");
    const context = guestContext(guest.qemu.accelerator, level, host.selinux);
    const layers = found.map(({ layer }) => layer);
    const command = guestCommand(guest, layers);
    qemu = await startQemu(command, credential, context, place, host.selinux, opened);
    step("start");
    for (const [i, image] of opened.entries()) {
      const { layer, openedAs } = image;
      const lacks = (access: Access) =>
        missingToReceive(context, labels[i]!, access, host, classOf(layer));
      const passed = await passImage(qemu, image, lacks, isCold(layer.image));
      const kept = keep(image);
      images.push({ ...found[i]!, label: labels[i]!, passed, openedAs, ...kept });
    }
    step("pass");
    for (const chain of chainsOf(guest, layers)) {
      await runAll(qemu.monitor, imageGraph(chain, guest));
    }
    const { fdsets, left } = await probeFdsets(qemu.monitor);
    const removals = left.map((passed) => ({ passed }));
    const parts = { guest, operation, context, credential, place, qemu, images };
    const attached = attachedGuest({ ...parts, fdsets, removals });
    await addTransient(attached, host);
    step("graph");
    requireExpected(await verifyGuest(attached, host));
    step("verify");
    host.log.append({ event: "outcome", operation, guest: guest.name, result: "done" });
    step("record");
    return attached;
  } catch (failure) {
    const error = await whyFailed(failure as Error, qemu?.process);
    qemu?.[Symbol.dispose]();
    for (const image of images) letGo(image);
    await undo(operation, host, error, opened.map(({ ro }) => ro)).catch((failure) => {
      error.cause = failure;
    });
    throw error;
  } finally {
    // QEMU has its own duplicates; the agent keeps only those that carry the locks.
    for (const image of opened) image[Symbol.dispose]();
  }
}
