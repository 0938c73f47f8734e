import type { AttachedGuest } from "../attached_guest.ts";
import type { Host } from "../host.ts";
import { settleRemovals } from "../operation/settle_removals.ts";

const PERIOD_MS = 1_000;

/**
 * Takes away what QEMU keeps while its guest is paused, as soon as it runs: at QEMU's event, and once
 * a second because an event can be lost.
 *
 * @param told What was taken away, in words.
 */
export function watchRemovals(
  attached: AttachedGuest,
  host: Host,
  told: (text: string) => void,
): Disposable {
  let isAtIt = false;
  const look = async () => {
    if (isAtIt || attached.removals.length === 0) return;
    isAtIt = true;
    try {
      for (const text of await settleRemovals(attached, host)) told(text);
    } catch {
      // QEMU is silent or gone, or the log is full: nothing is recorded, and the next look tries again.
    } finally {
      isAtIt = false;
    }
  };
  const timer = setInterval(look, PERIOD_MS);
  const stopListening = attached.qemu.monitor.onEvent(({ event }) => {
    if (event === "RESUME") void look();
  });
  return {
    [Symbol.dispose]() {
      clearInterval(timer);
      stopListening();
    },
  };
}
