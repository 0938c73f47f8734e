import { constants } from "node:fs";
import type { Credential } from "../../ffi/libc_process.ts";
import type { Avc } from "../audit/avc.ts";
import type { Host } from "../host.ts";
import { openParent } from "../image/folder.ts";
import { rewrite } from "../image/fence.ts";
import type { OpenImage } from "../image/open.ts";
import { type Context, formatContext } from "../label/context.ts";
import { CANARY_BYTES } from "../operation/settle_canary.ts";
import type { Qemu } from "../process/qemu.ts";
import { fileNode } from "../qmp/graph.ts";
import { runJob } from "../qmp/job.ts";
import type { Passed } from "../qmp/pass.ts";
import { type CanaryAttempt, type CanaryState, isAsExpected } from "./canary_report.ts";
import { inodeOf, isAbout, openOnce, provoke, type Provoked } from "./provoke.ts";
import type { Answer, Decision } from "./verdict.ts";

/** A canary file that the canary's QEMU has. */
export interface PassedCanary {
  /** Lent. */
  readonly file: OpenImage;
  readonly passed: Passed;
  /** Beside it, and must not come to be. */
  readonly newPath: string;
}

const SOURCE = "svirt-agent-source";
const JOB_MS = 10_000;

/** Gives the canary something to write, and its files' nodes, whose descriptors it keeps. */
export async function prepareCanary(
  { monitor }: Qemu,
  files: readonly PassedCanary[],
): Promise<void> {
  await monitor.execute("blockdev-add", {
    driver: "null-co",
    "node-name": SOURCE,
    size: CANARY_BYTES,
    // Zeroes would be written as a hole: these are to be real bytes.
    "read-zeroes": false,
  });
  for (const { file: { layer } } of files) {
    const node = fileNode(layer);
    await monitor.execute(node.execute, node.arguments);
  }
}

/** Everything that is tried while the canary file has one label. */
export async function tryCanary(
  { monitor, process: { pid } }: Qemu,
  { file, passed, newPath }: PassedCanary,
  [state, label]: readonly [CanaryState, Context],
  credential: Credential,
  host: Host,
): Promise<CanaryAttempt[]> {
  const { layer, ro } = file;
  const attempts: CanaryAttempt[] = [];
  const inode = inodeOf(layer.path);
  const attempt = async (
    by: CanaryAttempt["by"],
    expected: Answer,
    path: string,
    work: () => Promise<unknown>,
    isDenial: (avc: Avc) => boolean,
  ) => {
    const provoked = await provoke(
      work,
      (avc) => avc.pid === pid && isDenial(avc),
      expected,
      host,
    );
    const decision = { ...provoked.decision, ...byWhom(by, provoked) };
    attempts.push({
      mount: Number(ro.stat().mountId),
      state,
      label: formatContext(label),
      by,
      path,
      expected,
      asExpected: isAsExpected(by, expected, decision),
      ...provoked,
      decision,
    });
  };
  /** Who denied it where the kernel recorded nothing. */
  const byWhom = (by: CanaryAttempt["by"], { decision, avc }: Provoked): Partial<Decision> => {
    if (decision.by !== "unknown" || avc !== undefined) return {};
    if (by === "create" && deniedByMode(newPath, credential, host)) return { by: "dac" };
    // Through the same open file: what the server answered to the agent it answers to the canary.
    if (by === "write" && state === "fenced" && rewrite(file.rw!) === "EACCES") {
      return { by: "server" };
    }
    return {};
  };
  const isOpen = (avc: Avc) => isAbout(avc, inode, ["open", "read"]);
  const fdset = `/dev/fdset/${layer.fdset}`;
  const own = `/proc/self/fd/${passed.ro.number}`;
  const direct = layer.image.cache === "none";
  await attempt("fdset", "allowed", fdset, () => openOnce(monitor, fdset, direct), isOpen);
  await attempt("path", "denied", layer.path, () => openOnce(monitor, layer.path, false), isOpen);
  await attempt("proc-fd", "denied", own, () => openOnce(monitor, own, false), isOpen);
  // The folder's label is the same whatever the file's is.
  if (state === "writable" || state === "unlabelled") {
    await attempt("create", "denied", newPath, () => create(monitor, newPath), isCreation);
  }
  const write = () =>
    runJob(monitor, "write", () =>
      monitor.execute("blockdev-backup", {
        "job-id": "write",
        device: SOURCE,
        target: `${layer.node}.file`,
        sync: "full",
        "auto-dismiss": false,
      }), JOB_MS);
  const writes = state === "writable" || state === "unlabelled" ? "allowed" : "denied";
  await attempt("write", writes, fdset, write, (avc) => isAbout(avc, inode, ["write", "append"]));
  return attempts;
}

/** QEMU opens a chardev's file with O_WRONLY | O_CREAT. QAPI `ChardevFile`. */
async function create(monitor: Qemu["monitor"], path: string): Promise<void> {
  const backend = { type: "file", data: { out: path } };
  await monitor.execute("chardev-add", { id: "canary", backend });
  await monitor.execute("chardev-remove", { id: "canary" });
}

function isCreation({ permissive, tclass, denied }: Avc): boolean {
  if (permissive) return false;
  const wanted = tclass === "dir" ? ["search", "write", "add_name"] : ["create"];
  return (tclass === "dir" || tclass === "file") && denied.some((it) => wanted.includes(it));
}

/** Would owner and mode of the folder alone keep this user from making a file there? */
function deniedByMode(path: string, { uid, gid, groups }: Credential, { folders }: Host): boolean {
  using folder = openParent(folders, path);
  const stat = folder.stat();
  const bit = stat.uid === uid
    ? constants.S_IWUSR
    : gid === stat.gid || groups.includes(stat.gid)
    ? constants.S_IWGRP
    : constants.S_IWOTH;
  return (stat.mode & bit) === 0;
}
