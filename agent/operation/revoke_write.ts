import type { AttachedGuest, AttachedImage } from "../attached_guest.ts";
import type { Fence } from "../guest.ts";
import type { Host } from "../host.ts";
import { isFenceable, raiseFence } from "../image/fence.ts";
import { lockImage, unlockImage } from "../image/lock.ts";
import { labelImage } from "../label/apply.ts";
import type { OwnedFd } from "../owned_fd.ts";

/** Is write access to this image revoked by its owner on the server? */
export function wantsFence({ storage }: AttachedImage, fence: Fence): boolean {
  return fence === "owner" && isFenceable(storage);
}

/** `fence` of the guest file, or else of agent.toml. */
export function fenceOf({ guest }: AttachedGuest, { settings }: Host): Fence {
  return guest.fence ?? settings.fence;
}

/**
 * Takes write access to a file away: by its label, or else by its owner where a fence is asked for;
 * and gives it the lock of a file that is only read.
 *
 * @param image As it is from now on: read-only. Its descriptors become the returned image's.
 * @param problems Told what did not work: the rest is done all the same.
 */
export function revokeWrite(
  image: AttachedImage,
  attached: AttachedGuest,
  host: Host,
  problems: Error[],
): AttachedImage {
  const { locked, ro, hostNode, openedAs } = image;
  const attempt = <T>(work: () => T): T | undefined => {
    try {
      return work();
    } catch (error) {
      problems.push(error as Error);
      return undefined;
    }
  };
  const level = attached.context.level ?? "s0";
  const label = attempt(() => labelImage(image, level, host.selinux)) ?? image.label;
  const fenced = wantsFence(image, fenceOf(attached, host)) &&
    attempt(() => {
      raiseFence(locked, openedAs, attached.credential);
      return locked;
    });
  const isLocked = attempt(() => {
    // The old lock says that somebody writes; it would stand in the way of the new one.
    unlockImage(locked);
    lockImage(ro, "ro");
    if (hostNode === undefined) return true;
    unlockImage(hostNode);
    lockImage(hostNode, "ro");
    return true;
  });
  const now = { ...image, label, ...(fenced && { fenced }) };
  if (isLocked !== true) return now;
  if (!fenced) dispose(locked);
  return { ...now, locked: ro };
}

function dispose(fd: OwnedFd): void {
  fd[Symbol.dispose]();
}
