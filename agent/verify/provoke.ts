import { statx } from "../../ffi/libc.ts";
import type { Avc } from "../audit/avc.ts";
import type { Host } from "../host.ts";
import { harmless } from "../io/json.ts";
import { parseContext } from "../label/context.ts";
import type { Policy } from "../policy/live.ts";
import { JobError } from "../qmp/job.ts";
import { type Monitor, QmpError } from "../qmp/monitor.ts";
import type { Answer, Decision } from "./verdict.ts";

/** What came of something that a QEMU was asked to try. */
export interface Provoked {
  readonly decision: Decision;
  /** QEMU's own words. */
  readonly said?: string;
  /** The kernel's record of the denial. */
  readonly avc?: { readonly serial: number; readonly denied: readonly string[] };
}

/** Nobody would tell a denial by SELinux from another one. */
export class NoAuditStreamError extends Error {
  override readonly name = "NoAuditStreamError";
  readonly hint: string = "setsebool svirt_agent_read_audit on, and start the guest again: its " +
    "agent joins the stream when it starts.";

  constructor() {
    super("the agent of this guest does not read the audit stream: no denial could be proved");
  }
}

/** @throws {@linkcode NoAuditStreamError} where the agent may not read the kernel's records. */
export function requireAuditStream({ avcs }: Pick<Host, "avcs">): void {
  if (avcs === undefined) throw new NoAuditStreamError();
}

/** How long the record of a denial may take: the kernel hands it to its audit thread first. */
const AVC_MS = 2_000;

/**
 * Lets a QEMU try something. Its word alone proves nothing, so a denial that is expected is matched
 * with the kernel's AVC.
 *
 * @param work Fails with QEMU's own words.
 * @param isDenial Picks the record out by pid, class, permission and inode.
 * @throws What `work` throws besides an answer of QEMU.
 */
export async function provoke(
  work: () => Promise<unknown>,
  isDenial: (avc: Avc) => boolean,
  expected: Answer,
  { avcs, policy }: Pick<Host, "avcs" | "policy">,
): Promise<Provoked> {
  const ask = async (): Promise<string | undefined> => {
    try {
      await work();
      return undefined;
    } catch (error) {
      if (error instanceof QmpError) return error.desc;
      if (error instanceof JobError) return error.message;
      throw error;
    }
  };
  const { result: said, avc } = avcs === undefined
    ? { result: await ask(), avc: undefined }
    : await avcs.during(isDenial, ask, expected === "denied" ? AVC_MS : 0);
  return {
    decision: decide(said, avc, policy),
    ...(said !== undefined && { said: harmless(said) }),
    ...(avc !== undefined && { avc: { serial: avc.serial, denied: avc.denied } }),
  };
}

const NODE = "svirt-agent-witness";

/** Lets QEMU open a file read-only and unlocked, and close it at once. */
export async function openOnce(
  monitor: Monitor,
  path: string,
  direct: boolean,
  driver: "file" | "host_device" = "file",
): Promise<void> {
  await monitor.execute("blockdev-add", {
    driver,
    "node-name": NODE,
    filename: path,
    "read-only": true,
    locking: "off",
    cache: { direct },
  });
  await monitor.execute("blockdev-del", { "node-name": NODE });
}

/** As the agent sees it; QEMU must not be able to show a denial of something else. */
export function inodeOf(path: string): bigint | undefined {
  try {
    return statx(path).ino;
  } catch {
    return undefined;
  }
}

/** Is it the refusal of one of these permissions on this file, or to reach it through its folders? */
export function isAbout(
  { permissive, tclass, denied, ino }: Avc,
  inode: bigint | undefined,
  permissions: readonly string[],
): boolean {
  if (permissive) return false;
  if (tclass === "dir") return denied.includes("search");
  const isOne = denied.some((permission) => permissions.includes(permission));
  return (tclass === "file" || tclass === "blk_file") && isOne && ino !== undefined &&
    BigInt(ino) === inode;
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
