import type { AttachedGuest, Removal } from "../attached_guest.ts";
import type { Identity } from "../owned_fd.ts";
import { descriptorsOf } from "../process/descriptor.ts";
import { isInFdset, removeFd } from "../qmp/fdset.ts";
import { QmpError } from "../qmp/monitor.ts";
import type { Prepared } from "./prepare_overlay.ts";

/** How long QEMU may take over what it is asked: a hostile one must not put off the relabel. */
export const QEMU_MS = 3_000;

/**
 * Tells QEMU to give up the read-write descriptors of images that are frozen, and looks.
 *
 * QEMU before 9.1 does nothing while the guest is paused, and answers success: such descriptors
 * are kept in mind, and {@link ../operation/settle_removals.ts} tries again.
 *
 * @param attempt Runs a step and keeps its error; the rest is done all the same.
 * @returns Files of which QEMU keeps a descriptor for now.
 */
export async function removeOld(
  operation: string,
  attached: AttachedGuest,
  prepared: readonly Prepared[],
  attempt: (work: () => Promise<unknown>) => Promise<void>,
): Promise<ReadonlySet<Identity>> {
  const pending = new Set<Identity>();
  for (const { old } of prepared) {
    const passed = old.passed.rw;
    if (passed === undefined) continue;
    const removal = { passed, frozen: { image: old, operation } };
    await attempt(async () => {
      if (await remove(attached, removal)) return;
      if (attached.fdsets.removesWhilePaused || await isRunning(attached)) {
        throw new Error(`QEMU keeps descriptor ${passed.number} of "${old.layer.path}"`);
      }
      attached.removals.push(removal);
      pending.add(old.identity);
    });
  }
  return pending;
}

/** Tells QEMU to give a descriptor up. @returns Is it gone, by QEMU's list and by /proc? */
export async function remove(
  { qemu: { monitor, process } }: AttachedGuest,
  { passed, frozen }: Removal,
): Promise<boolean> {
  try {
    await removeFd(monitor, passed, QEMU_MS);
  } catch (error) {
    // It is not there (any more): whether that is so is looked at next.
    if (!(error instanceof QmpError)) throw error;
  }
  if (await isInFdset(monitor, passed, QEMU_MS)) return false;
  return !descriptorsOf(process.pid).some(({ number, identity, access }) =>
    number === passed.number && identity === frozen?.image.identity && access === "rw"
  );
}

async function isRunning({ qemu: { monitor } }: AttachedGuest): Promise<boolean> {
  const status = await monitor.execute("query-status", {}, { timeoutMs: QEMU_MS });
  return (status as { running?: unknown } | null)?.running === true;
}
