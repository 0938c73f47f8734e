import type { Avc } from "../audit/avc.ts";
import type { AttachedGuest } from "../attached_guest.ts";
import type { Host } from "../host.ts";
import { layerName } from "../image/layer.ts";
import { descriptorsOf } from "../process/descriptor.ts";
import {
  inodeOf,
  isAbout,
  openOnce,
  provoke,
  type Provoked,
  requireAuditStream,
} from "./provoke.ts";
import { bySelinux } from "./verdict.ts";

/** One open that the guest's own QEMU was asked to make. */
export interface Attempt extends Provoked {
  readonly image: string;
  /**
   * - `fdset`: what it was handed, the positive control
   * - `path`: its own image by name
   * - `proc-fd`: the descriptor it holds, opened again
   * - `other`: a path that is not its own
   */
  readonly by: "fdset" | "path" | "proc-fd" | "other";
  readonly path: string;
  readonly expected: "allowed" | "denied";
  readonly asExpected: boolean;
}

/**
 * Lets QEMU try: what it was handed opens, its path does not, neither does anybody else's.
 *
 * QEMU's word alone proves nothing, so each denial is matched with the kernel's AVC by pid. What a
 * mistaken policy lets it open is read-only, unlocked and closed at once.
 *
 * @param others Paths that are not this guest's.
 * @throws `NoAuditStreamError` where no denial could be proved.
 */
export async function throughGuest(
  attached: AttachedGuest,
  others: readonly string[],
  host: Host,
): Promise<Attempt[]> {
  requireAuditStream(host);
  const held = descriptorsOf(attached.qemu.process.pid);
  const attempts: Attempt[] = [];
  const attempt = async (image: string, by: Attempt["by"], path: string) => {
    attempts.push(await tryOpen(attached, host, image, by, path));
  };
  for (const { layer, identity } of attached.images) {
    const name = layerName(layer);
    await attempt(name, "fdset", `/dev/fdset/${layer.fdset}`);
    // The host's own node is root's: that the guest cannot open it shows nothing of SELinux.
    await attempt(name, "path", layer.privateNode ?? layer.path);
    const number = held.find((fd) => fd.identity === identity)?.number;
    if (number !== undefined) await attempt(name, "proc-fd", `/proc/self/fd/${number}`);
  }
  for (const path of others) await attempt(path, "other", path);
  return attempts;
}

async function tryOpen(
  { qemu: { monitor, process: { pid } }, images }: AttachedGuest,
  host: Host,
  image: string,
  by: Attempt["by"],
  path: string,
): Promise<Attempt> {
  const expected = by === "fdset" ? "allowed" : "denied";
  // An fdset only serves the modes it holds: with O_DIRECT where the image was opened with it.
  const direct = by === "fdset" &&
    images.find(({ layer }) => path === `/dev/fdset/${layer.fdset}`)?.layer.image.cache === "none";
  const inode = by === "proc-fd"
    ? inodeOf(`/proc/${pid}${path.slice("/proc/self".length)}`)
    : inodeOf(path);
  const isDenial = (avc: Avc) => avc.pid === pid && isAbout(avc, inode, ["open", "read"]);
  const isDevice = images.some(({ layer }) =>
    layerName(layer) === image && layer.privateNode !== undefined
  );
  const driver = isDevice ? "host_device" : "file";
  const open = () => openOnce(monitor, path, direct, driver);
  const provoked = await provoke(open, isDenial, expected, host);
  const { decision } = provoked;
  return {
    image,
    by,
    path,
    expected,
    asExpected: decision.answer === expected && (expected === "allowed" || bySelinux(decision)),
    ...provoked,
  };
}
