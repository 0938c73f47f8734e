import { mkdirSync, rmSync } from "node:fs";
import { lookUpUser } from "../../../ffi/libc_process.ts";
import { guestContext } from "../../../agent/label/domain.ts";
import { formatContext, parseContext } from "../../../agent/label/context.ts";
import { kernel } from "../../../agent/label/selinux.ts";
import { livePolicy } from "../../../agent/policy/live.ts";
import { removeCgroup } from "../../../agent/process/cgroup.ts";
import { placeOf } from "../../../agent/process/place.ts";
import { guestCommand, startQemu } from "../../../agent/process/start.ts";
import { QmpError } from "../../../agent/qmp/monitor.ts";
import { policyWitness } from "../../../agent/verify/policy_witness.ts";
import type { Decision } from "../../../agent/verify/verdict.ts";
import { must } from "../command.ts";
import { avcsOf } from "../audit_log.ts";
import { claim, type GuestFile, keepsLabels, USER } from "../world.ts";
import { type Check, check } from "./check.ts";

/** As libvirt would label and own an image that its guest opens by path. */
const IMAGE = "system_u:object_r:svirt_image_t:s0:c1,c2";
const OTHERS = "system_u:object_r:svirt_image_t:s0:c3,c4";
const LEVEL = "s0:c1,c2";

/**
 * What everybody has today: QEMU opens images by path. On storage with labels MCS keeps guests
 * apart; on NFS virt_use_nfs opens every image to every guest.
 */
export async function before(own: GuestFile, other: GuestFile): Promise<Check[]> {
  const { storage } = own;
  const onNfs = !keepsLabels(storage);
  for (const [guest, label] of [[own, IMAGE], [other, OTHERS]] as const) {
    for (const path of [guest.root, guest.data]) {
      await must("chown", `${USER}:${USER}`, path);
      if (!onNfs) await must("chcon", label, path);
    }
  }
  if (onNfs) await must("setsebool", "virt_use_nfs", "on");

  // Debian gives the domain for translated code no image at all: the other one, allowed to translate.
  await must("setsebool", "virt_use_execmem", "on");
  const context = guestContext("kvm", LEVEL, kernel);
  const place = placeOf("before", { runtimeFolder: `/run/before-${storage}` });
  mkdirSync(place.folder, { recursive: true });
  const qemu = {
    binary: "qemu-system-x86_64",
    args: ["-machine", "none", "-display", "none"],
    user: USER,
  } as const;
  const guest = {
    name: "before",
    file: "",
    images: [],
    qemu: { ...qemu, accelerator: "tcg" },
  } as const;
  using running = await startQemu(guestCommand(guest), lookUpUser(USER)!, context, place, kernel);
  const checks: Check[] = [];
  for (const [whose, path, isOwn] of [[own, own.data, true], [other, other.data, false]] as const) {
    const said = await open(running, path);
    const label = parseContext((await must("stat", "-c", "%C", path)).trim());
    const opener = kernel.ownContext();
    const policy = policyWitness(context, label, opener, livePolicy).verdict;
    const decision: Decision = said === undefined
      ? { answer: "allowed", by: "te" }
      : { answer: "denied", by: policy.open.by };
    const avcs = said === undefined ? [] : await avcsOf(running.process.pid, isImage);
    claim(avcs.map(({ serial }) => serial), `before: ${path} opened by path`);
    checks.push(check({
      storage,
      guest: own.name,
      image: `${whose.name}/data`,
      stage: "before",
      holder: { kind: "guest", pid: running.process.pid, context: formatContext(context) },
      verdict: { open: decision },
      expected: { open: isOwn || onNfs ? "allowed" : "denied" },
      witnesses: {
        policy,
        guest: [`blockdev-add ${path}: ${said ?? "opened"}`],
        ...(avcs.length > 0 && { avc: avcs.map(({ serial }) => serial) }),
      },
    }));
  }
  await running.monitor.execute("quit").catch(() => {});
  await running.process.ended;
  removeCgroup(place.cgroup);
  await must("setsebool", "virt_use_execmem", "off");
  rmSync(`/run/before-${storage}`, { recursive: true });
  for (const { root, data } of [own, other]) {
    for (const path of [root, data]) {
      await must("chown", "root:root", path);
      if (!onNfs) await must("chcon", "system_u:object_r:virt_image_t:s0", path);
    }
  }
  return checks;
}

function isImage({ tcontext }: { tcontext: string }): boolean {
  return /:(svirt_image_t|nfs_t):/.test(tcontext);
}

/** QEMU's own words when it refuses, `undefined` when the image is open. */
async function open(
  { monitor }: Awaited<ReturnType<typeof startQemu>>,
  filename: string,
): Promise<string | undefined> {
  try {
    await monitor.execute("blockdev-add", { driver: "file", "node-name": "before", filename });
    await monitor.execute("blockdev-del", { "node-name": "before" });
    return undefined;
  } catch (error) {
    if (error instanceof QmpError) return error.desc;
    throw error;
  }
}
