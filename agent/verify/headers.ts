import type { AttachedGuest } from "../attached_guest.ts";
import type { Host } from "../host.ts";
import type { ImageError } from "../image/image_error.ts";
import { checkHeaders } from "../image/pinned.ts";

/**
 * Do the headers of a running guest's files still say what it was started with, or what a snapshot
 * wrote? Nothing is opened by them, but a guest that forges one is up to something.
 */
export function headersOf(
  { guest, images }: AttachedGuest,
  host: Host,
): ImageError[] {
  return checkHeaders(
    { guest: guest.name, files: images, pinnedBy: "the agent", runs: true },
    host,
  );
}
