import { constants } from "node:fs";
import type { OpenIntent, SnapshotPlan } from "../audit/state.ts";
import type { Host } from "../host.ts";
import { openBeneath } from "../image/folder.ts";
import { readHeader } from "../image/header.ts";
import { unlinkOverlay } from "./overlay.ts";

/**
 * Ends a snapshot of which nobody knows whether QEMU had switched over, once QEMU is gone.
 *
 * Headers are written before QEMU switches over. Where all overlays have theirs, each stands on its
 * image and shows the same disk whether or not the guest wrote to it: the snapshot counts as taken.
 * Where one has none, none can hold data: all are removed.
 *
 * @returns What was done.
 */
export function settleSnapshot(intent: OpenIntent, host: Host): string[] {
  const plan = intent.plan as SnapshotPlan;
  const taken = plan.every(({ freeze, overlay }) => standsOn(overlay, freeze, host));
  const did = taken
    ? plan.map(({ freeze, overlay }) =>
      `${overlay} stands on ${freeze}: put both in the guest file`
    )
    : plan.flatMap(({ overlay }) => unlinkOverlay(overlay, host));
  host.log.append({
    event: "outcome",
    operation: intent.id,
    guest: intent.guest,
    result: taken ? "done" : "undone",
    evidence: did,
  }, { revocation: true });
  return did;
}

function standsOn(overlay: string, freeze: string, { folders }: Host): boolean {
  try {
    using fd = openBeneath(folders, overlay, constants.O_RDONLY);
    return readHeader(fd, "qcow2").backingFile === freeze;
  } catch (error) {
    const { code } = error as { code?: string };
    if (code === "ENOENT" || code === "bad-header") return false;
    throw error;
  }
}
