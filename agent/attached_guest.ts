import type { Credential } from "../ffi/libc_process.ts";
import type { Guest } from "./guest.ts";
import type { Inspected } from "./image/inspect.ts";
import type { Context } from "./label/context.ts";
import type { OwnedFd } from "./owned_fd.ts";
import type { Place } from "./process/place.ts";
import type { Qemu } from "./process/qemu.ts";
import type { PassedFd } from "./qmp/fdset.ts";
import type { Passed } from "./qmp/pass.ts";
import type { FdsetBehaviour } from "./qmp/version.ts";

/** One file of a guest that has been passed. */
export interface AttachedImage extends Inspected {
  /** Its label now: ours, or the filesystem's own where that keeps none. */
  readonly label: Context;
  readonly passed: Passed;
  /** Owned: a duplicate of the guest's read-only open file. */
  readonly ro: OwnedFd;
  /** Owned: a duplicate of the open file that carries the locks; `ro` where the guest only reads. */
  readonly locked: OwnedFd;
  /** Owned: a duplicate of the host's own node of a block device, with its locks. */
  readonly hostNode?: OwnedFd;
  /** Uid that opened what was passed. */
  readonly openedAs: number;
  /** Owned: behind a fence, the read-write open file that the guest had; the server refuses it. */
  readonly fenced?: OwnedFd;
}

/** A descriptor that QEMU was told to give up and still has. */
export interface Removal {
  readonly passed: PassedFd;
  /** The image that it could write, and the snapshot that froze it; absent for what is no image. */
  readonly frozen?: { readonly image: AttachedImage; readonly operation: string };
}

/** A guest whose QEMU runs and has its images. */
export interface AttachedGuest extends Disposable {
  readonly guest: Guest;
  /** Id of the attach in the log. */
  readonly operation: string;
  /** Context of QEMU, with the level that is reserved for this guest. */
  readonly context: Context;
  readonly credential: Credential;
  readonly place: Place;
  readonly qemu: Qemu;
  /** Every image before what lies below it. A snapshot puts its overlay in front. */
  readonly images: AttachedImage[];
  /** How its QEMU treats fdsets. */
  readonly fdsets: FdsetBehaviour;
  /** What QEMU was told to give up and keeps until the guest runs. */
  readonly removals: Removal[];
}

/** Closes the agent's descriptors of a file; the guest has its own. */
export function letGo({ ro, locked, hostNode, fenced }: AttachedImage): void {
  ro[Symbol.dispose]();
  locked[Symbol.dispose]();
  hostNode?.[Symbol.dispose]();
  fenced?.[Symbol.dispose]();
}

/** Owns the monitor, the pidfd and the locks; disposing of it leaves QEMU running. */
export function attachedGuest(parts: Omit<AttachedGuest, typeof Symbol.dispose>): AttachedGuest {
  return {
    ...parts,
    [Symbol.dispose]() {
      parts.qemu[Symbol.dispose]();
      for (const image of parts.images) letGo(image);
    },
  };
}
