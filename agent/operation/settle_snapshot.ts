import { pread } from "../../ffi/libc.ts";
import type { OpenIntent, SnapshotPlan } from "../audit/state.ts";
import type { Host } from "../host.ts";
import { openToLook } from "../image/squash.ts";
import type { Identity } from "../owned_fd.ts";
import { unlinkOverlay } from "./overlay.ts";

/**
 * Ends a snapshot of which nobody knows whether QEMU had switched over, once QEMU is gone.
 *
 * Headers are written before QEMU switches over. Where all overlays have one, each stands on its
 * image and shows the same disk whether or not the guest wrote to it: the snapshot counts as taken.
 * What the header says is not asked, because the guest could write it. Where one has none, none can
 * hold data, and those that this operation made are removed. Where somebody put another file in the
 * place of one nobody can tell, and all of them stay.
 *
 * @returns What was done.
 */
export function settleSnapshot(intent: OpenIntent, host: Host): string[] {
  const plan = intent.plan as SnapshotPlan;
  const made = new Map(
    intent.undo.flatMap((it) => it.kind === "unlink" ? [[it.path, it.identity] as const] : []),
  );
  const found = plan.map(({ freeze, overlay }) => {
    return { freeze, overlay, is: look(overlay, made.get(overlay) ?? null, host) };
  });
  const taken = found.every(({ is }) => is !== "no header");
  const did = taken
    ? found.map(({ freeze, overlay, is }) =>
      is === "header"
        ? `${overlay} stands on ${freeze}: put both in the guest file`
        : `${overlay} is another file than the one that stood on ${freeze}: left alone`
    )
    : intent.undo.flatMap((it) =>
      it.kind === "unlink" ? unlinkOverlay(it.path, it.identity, host) : []
    );
  host.log.append({
    event: "outcome",
    operation: intent.id,
    guest: intent.guest,
    result: taken ? "done" : "undone",
    evidence: did,
  }, { revocation: true });
  return did;
}

/** First four bytes of a qcow2 file. */
const MAGIC = "QFI\xfb";

function look(
  overlay: string,
  identity: Identity | null,
  { folders }: Host,
): "header" | "no header" | "another file" {
  try {
    using fd = openToLook(folders, overlay);
    if (identity !== null && fd.identity !== identity) return "another file";
    const bytes = new Uint8Array(MAGIC.length);
    pread(fd.number, bytes, 0);
    return String.fromCharCode(...bytes) === MAGIC ? "header" : "no header";
  } catch (error) {
    if ((error as { code?: string }).code === "ENOENT") return "no header";
    throw error;
  }
}
