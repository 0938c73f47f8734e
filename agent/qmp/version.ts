import type { QemuVersion } from "./monitor.ts";

/** How a QEMU release treats fdsets; util/osdep.c and monitor/fds.c of its tree. */
export interface FdsetBehaviour {
  /** First release, `[major, minor]`. */
  readonly since: readonly [number, number];
  /** Does an open with O_DIRECT need a descriptor that has it? Before, QEMU sets it on the open file. */
  readonly matchesDirect: boolean;
  /** Does remove-fd do anything while the guest does not run? Before, it answers success. */
  readonly removesWhilePaused: boolean;
}

const TABLE: readonly FdsetBehaviour[] = [
  { since: [9, 1], matchesDirect: true, removesWhilePaused: true },
  { since: [0, 0], matchesDirect: false, removesWhilePaused: false },
];

/** The row for this QEMU. */
export function fdsetBehaviour({ major, minor }: QemuVersion): FdsetBehaviour {
  return TABLE.find(({ since }) => major > since[0] || (major === since[0] && minor >= since[1]))!;
}
