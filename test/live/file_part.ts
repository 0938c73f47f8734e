/**
 * The file part of an attach, inspect to label, in the test's own process: through the agent's own
 * functions, without a QEMU.
 *
 * @module
 */

import { mkdirSync, rmSync } from "node:fs";
import { AuditLog } from "../../agent/audit/log.ts";
import { decide } from "../../agent/grant/decide.ts";
import { grantImages } from "../../agent/grant/grant.ts";
import type { Guest } from "../../agent/guest.ts";
import type { Host } from "../../agent/host.ts";
import { Folder } from "../../agent/image/folder.ts";
import { inspectImages } from "../../agent/image/inspect.ts";
import { type OpenImage, openImage } from "../../agent/image/open.ts";
import { writeOwner } from "../../agent/image/owner.ts";
import { labelImage } from "../../agent/label/apply.ts";
import { booleans } from "../../agent/label/boolean.ts";
import { kernel } from "../../agent/label/selinux.ts";
import { undo } from "../../agent/operation/undo.ts";
import type { Identity } from "../../agent/owned_fd.ts";
import { livePolicy } from "../../agent/policy/live.ts";
import { cgroupOf } from "../../agent/process/cgroup.ts";
import { startTimeOf } from "../../agent/process/contexts.ts";
import { RefusedError } from "../../agent/refused_error.ts";
import { type Credential, lookUpUser } from "../../ffi/libc_process.ts";
import type { Track } from "./race.ts";
import { USER } from "./world.ts";

/** In memory: an fdatasync for each of 10,000 rounds would be most of the time. */
const LOG_FOLDER = "/run/races";
export const credential: Credential = lookUpUser(USER)!;

/** A guest with an image over a private base. */
export function guestOf(name: string, { root, base }: Track["mine"]): Guest {
  return {
    name,
    file: `${name}.toml`,
    qemu: { binary: "qemu-system-x86_64", args: [], user: USER, accelerator: "tcg" },
    images: [{
      name: "root",
      path: root,
      format: "qcow2",
      access: "rw",
      cache: "none",
      device: "virtio-blk-pci",
      shared: false,
      transient: false,
      backing: [{ path: base, format: "raw", shared: false }],
    }],
  };
}

/** The agent's host as it is, but for where the log lies. */
export function openHost(folder: string): Host & Disposable {
  rmSync(LOG_FOLDER, { recursive: true, force: true });
  mkdirSync(LOG_FOLDER, { mode: 0o700 });
  const log = AuditLog.open(`${LOG_FOLDER}/audit.jsonl`);
  const folders = [Folder.open(folder)];
  return {
    settings: {
      folders: [folder],
      audit: { folder: LOG_FOLDER },
      categories: { low: 0, high: 1023 },
      boolean: "ask",
      onBooleanOn: "report",
      fence: "off",
      runtimeFolder: LOG_FOLDER,
    },
    folders,
    log,
    selinux: kernel,
    booleans,
    policy: livePolicy,
    avcs: undefined,
    agent: { pid: process.pid, startTime: startTimeOf(process.pid)! },
    [Symbol.dispose]() {
      log[Symbol.dispose]();
      for (const it of folders) it[Symbol.dispose]();
    },
  };
}

/** Sees what was opened, while it is open. */
export type Use = (images: readonly OpenImage[]) => void;

/** The file part of an attach, through the agent's own functions; `use` sees what came of it. */
export async function attachFiles(guest: Guest, host: Host, use: Use): Promise<void> {
  const found = inspectImages(guest, host);
  const { operation, level } = grantImages(guest, found, credential, cgroupOf(guest.name), host);
  const opened: OpenImage[] = [];
  try {
    for (const image of found) opened.push(openImage(image, credential, host.folders));
    for (const image of opened) labelImage(image, level, host.selinux);
    use(opened);
  } finally {
    await undo(operation, host, new Error("the round is over"), opened.map(({ ro }) => ro));
    for (const image of opened) image[Symbol.dispose]();
  }
}

/**
 * The same without the log: the decision alone instead of its record, and labels and owners put back
 * by descriptor. Ten times as many rounds in the same time.
 */
export function decideAndOpen(guest: Guest, host: Host, use: Use): void {
  const references = (identity: Identity) => host.log.state.references.get(identity)?.users ?? [];
  const found = inspectImages(guest, host);
  for (const { layer: { image, path, access, shared }, identity } of found) {
    const asked = { guest: guest.name, image: image.name, path, identity, access, shared };
    const decision = decide({ ...asked, reason: "attach" }, { references });
    if (!decision.granted) throw new RefusedError(decision.text, decision.hint);
  }
  const opened: OpenImage[] = [];
  try {
    for (const image of found) opened.push(openImage(image, credential, host.folders));
    for (const image of opened) labelImage(image, "s0:c1,c2", kernel);
    use(opened);
  } finally {
    for (const image of opened) {
      if (image.storage.keepsLabels) kernel.writeLabel(image.ro, image.label!);
      writeOwner(image.ro, image);
      image[Symbol.dispose]();
    }
  }
}

/** A file that could not be given back where it was moving keeps its guest waiting, as recovery does. */
export async function finishUndoing(host: Host): Promise<void> {
  for (const { id } of [...host.log.state.intents.values()]) await undo(id, host);
}
