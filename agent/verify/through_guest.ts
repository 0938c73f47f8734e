import { statx } from "../../ffi/libc.ts";
import { harmless } from "../io/json.ts";
import type { Avc } from "../audit/avc.ts";
import type { AttachedGuest } from "../attached_guest.ts";
import type { Host } from "../host.ts";
import { layerName } from "../image/layer.ts";
import { parseContext } from "../label/context.ts";
import { descriptorsOf } from "../process/descriptor.ts";
import { QmpError } from "../qmp/monitor.ts";
import type { Policy } from "../policy/live.ts";
import { bySelinux, type Decision } from "./verdict.ts";

/** One open that the guest's own QEMU was asked to make. */
export interface Attempt {
  readonly image: string;
  /**
   * - `fdset`: what it was handed, the positive control
   * - `path`: its own image by name
   * - `proc-fd`: the descriptor it holds, opened again
   * - `other`: a path that is not its own
   */
  readonly by: "fdset" | "path" | "proc-fd" | "other";
  readonly path: string;
  readonly decision: Decision;
  readonly expected: "allowed" | "denied";
  readonly asExpected: boolean;
  /** QEMU's own words. */
  readonly said?: string;
  /** The kernel's record of the denial. */
  readonly avc?: { readonly serial: number; readonly denied: readonly string[] };
}

/** How long the record of a denial may take: the kernel hands it to its audit thread first. */
const AVC_MS = 2_000;

/**
 * Lets QEMU try: what it was handed opens, its path does not, neither does anybody else's.
 *
 * QEMU's word alone proves nothing, so each denial is matched with the kernel's AVC by pid. What a
 * mistaken policy lets it open is read-only, unlocked and closed at once.
 *
 * @param others Paths that are not this guest's.
 */
export async function throughGuest(
  attached: AttachedGuest,
  others: readonly string[],
  host: Host,
): Promise<Attempt[]> {
  const held = descriptorsOf(attached.qemu.process.pid);
  const attempts: Attempt[] = [];
  const attempt = async (image: string, by: Attempt["by"], path: string) => {
    attempts.push(await tryOpen(attached, host, image, by, path));
  };
  for (const { layer, identity } of attached.images) {
    const name = layerName(layer);
    await attempt(name, "fdset", `/dev/fdset/${layer.fdset}`);
    await attempt(name, "path", layer.path);
    const number = held.find((fd) => fd.identity === identity)?.number;
    if (number !== undefined) await attempt(name, "proc-fd", `/proc/self/fd/${number}`);
  }
  for (const path of others) await attempt(path, "other", path);
  return attempts;
}

const NODE = "svirt-agent-witness";

async function tryOpen(
  { qemu: { monitor, process: { pid } }, images }: AttachedGuest,
  { avcs, policy }: Host,
  image: string,
  by: Attempt["by"],
  path: string,
): Promise<Attempt> {
  const expected = by === "fdset" ? "allowed" : "denied";
  // An fdset only serves the modes it holds: with O_DIRECT where the image was opened with it.
  const direct = by === "fdset" &&
    images.find(({ layer }) => path === `/dev/fdset/${layer.fdset}`)?.layer.image.cache === "none";
  const provoke = async (): Promise<string | undefined> => {
    try {
      await monitor.execute("blockdev-add", {
        driver: "file",
        "node-name": NODE,
        filename: path,
        "read-only": true,
        locking: "off",
        cache: { direct },
      });
      await monitor.execute("blockdev-del", { "node-name": NODE });
      return undefined;
    } catch (error) {
      if (error instanceof QmpError) return error.desc;
      throw error;
    }
  };
  const inode = by === "proc-fd"
    ? inodeOf(`/proc/${pid}${path.slice("/proc/self".length)}`)
    : inodeOf(path);
  const isDenial = (avc: Avc) => avc.pid === pid && isAbout(avc, inode);
  const { said, avc } = await watch(provoke, isDenial, expected === "denied" ? AVC_MS : 0, avcs);
  const decision = decide(said, avc, policy);
  return {
    image,
    by,
    path,
    decision,
    expected,
    asExpected: decision.answer === expected && (expected === "allowed" || bySelinux(decision)),
    ...(said !== undefined && { said: harmless(said) }),
    ...(avc !== undefined && { avc: { serial: avc.serial, denied: avc.denied } }),
  };
}

/** As the agent sees it; QEMU must not be able to show a denial of something else. */
function inodeOf(path: string): bigint | undefined {
  try {
    return statx(path).ino;
  } catch {
    return undefined;
  }
}

/** Is it the refusal to open this file, or to reach it through its folders? */
function isAbout({ permissive, tclass, denied, ino }: Avc, inode: bigint | undefined): boolean {
  if (permissive) return false;
  if (tclass === "dir") return denied.includes("search");
  const isOpen = denied.some((permission) => ["open", "read"].includes(permission));
  return tclass === "file" && isOpen && ino !== undefined && BigInt(ino) === inode;
}

async function watch(
  provoke: () => Promise<string | undefined>,
  isDenial: (avc: Avc) => boolean,
  ms: number,
  avcs: Host["avcs"],
): Promise<{ said: string | undefined; avc: Avc | undefined }> {
  if (avcs === undefined) return { said: await provoke(), avc: undefined };
  const { result: said, avc } = await avcs.during(isDenial, provoke, ms);
  return { said, avc };
}

/** SELinux denied it only if the kernel says so; QEMU's "Permission denied" may be the file's mode. */
function decide(said: string | undefined, avc: Avc | undefined, policy: Policy): Decision {
  if (said === undefined) return { answer: "allowed", by: "te" };
  if (avc === undefined) {
    return { answer: "denied", by: said.includes("Permission denied") ? "unknown" : "other" };
  }
  const [source, target] = [parseContext(avc.scontext), parseContext(avc.tcontext)];
  const { by } = policy.access(source, target, avc.tclass).decide(avc.denied[0] ?? "open");
  return { answer: "denied", by };
}
