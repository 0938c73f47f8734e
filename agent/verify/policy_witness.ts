import type { FileClass } from "../label/assign.ts";
import type { Context } from "../label/context.ts";
import type { Policy } from "../policy/live.ts";
import type { Verdict } from "./verdict.ts";

/** What the policy says of one guest and one image. */
export interface PolicyWitness {
  readonly verdict: Verdict;
  /** The guest's domain is permissive: the verdict is what the rules say, and nothing enforces it. */
  readonly permissive: boolean;
}

/**
 * Asks the policy.
 *
 * @param guest Context that the kernel shows for the guest's process.
 * @param label Context that the kernel shows for the image.
 * @param opener Context of whoever opened the descriptor: `fd use` is checked against that domain.
 */
export function policyWitness(
  guest: Context,
  label: Context,
  opener: Context,
  policy: Policy,
  fileClass: FileClass = "file",
): PolicyWitness {
  const fd = policy.access(guest, opener, "fd");
  const file = policy.access(guest, label, fileClass);
  return {
    permissive: file.permissive,
    verdict: {
      dup: fd.decide("use"),
      open: file.decide("open"),
      read: file.decide("read"),
      write: file.decide("write"),
      map: file.decide("map"),
    },
  };
}
