import type { AttachedGuest } from "../attached_guest.ts";
import type { Host } from "../host.ts";
import { verifyGuest } from "../verify/guest.ts";
import { remove } from "./removal.ts";
import { revocation } from "./revocation.ts";

/**
 * Tries once more to take away what QEMU kept while its guest was paused. What is gone is recorded as
 * revoked, with what was seen; nothing is before that.
 *
 * @returns What became of the images, for the terminal.
 */
export async function settleRemovals(attached: AttachedGuest, host: Host): Promise<string[]> {
  const { guest, removals } = attached;
  const gone = [];
  for (const removal of [...removals]) {
    if (!await remove(attached, removal)) continue;
    if (removal.frozen !== undefined) gone.push({ removal, ...removal.frozen });
    else removals.splice(removals.indexOf(removal), 1);
  }
  if (gone.length === 0) return [];
  const { verdicts } = await verifyGuest(attached, host);
  return gone.map(({ removal, image, operation }) => {
    const verdict = verdicts.find(({ identity }) => identity === image.identity);
    const grade = verdict?.asExpected ? verdict.grade : undefined;
    // Where the label had taken write access away before, that is on record already.
    const isOpen = host.log.state.grants.get(guest.name)?.some(({ identity, mode }) =>
      identity === image.identity && mode === "rw"
    );
    if (isOpen) {
      const seen = { ...(grade && { grade }), ...(verdict && { verdict }), problems: [] };
      host.log.append(revocation(operation, guest.name, image, seen), { revocation: true });
    }
    removals.splice(removals.indexOf(removal), 1);
    return `"${image.layer.path}": QEMU has given up the descriptor that it could write it with: ` +
      (grade ?? "NOT REVOKED");
  });
}
