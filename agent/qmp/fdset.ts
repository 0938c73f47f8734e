import { harmless } from "../io/json.ts";
import type { OwnedFd } from "../owned_fd.ts";
import { type Monitor, MonitorError, QmpError } from "./monitor.ts";

/** One descriptor in one of QEMU's fdsets; QAPI `AddfdInfo`. */
export interface PassedFd {
  readonly fdset: number;
  /** The descriptor's number in QEMU. */
  readonly number: number;
}

/** SELinux dropped a descriptor on its way to the guest. */
export class DroppedError extends Error {
  override readonly name = "DroppedError";
  readonly path: string;
  readonly hint: string;

  constructor(path: string, hint: string) {
    super(`"${path}": the kernel dropped the descriptor on its way to the guest`);
    this.path = path;
    this.hint = hint;
  }
}

/**
 * Passes a duplicate of a descriptor into a QEMU fdset; QMP `add-fd`.
 *
 * Receiving, SELinux checks `fd use` and read, write or append by the open mode, never `open`. A
 * descriptor it denies is dropped in silence, and QEMU says that none came.
 *
 * @param fd Lent.
 * @param opaque Names mode and image to whoever reads query-fdsets.
 * @throws {@linkcode DroppedError} when the kernel dropped it.
 */
export async function addFd(
  monitor: Monitor,
  fdset: number,
  fd: OwnedFd,
  opaque: string,
): Promise<PassedFd> {
  try {
    const args = { "fdset-id": fdset, opaque };
    const answer = await monitor.execute("add-fd", args, { passed: fd.duplicate() });
    const info = answer as { "fdset-id"?: unknown; fd?: unknown } | null;
    const number = info?.fd as number;
    if (info?.["fdset-id"] !== fdset || !Number.isSafeInteger(number) || number < 0) {
      const said = harmless(String(JSON.stringify(answer)).slice(0, 200));
      throw new MonitorError(`${monitor.path}: add-fd answered ${said}`);
    }
    return { fdset, number };
  } catch (error) {
    if (error instanceof QmpError && error.desc.includes("SCM_RIGHTS")) {
      throw new DroppedError(fd.path, "See: ausearch -m AVC -ts recent");
    }
    throw error;
  }
}

/** Takes one descriptor out of an fdset; what QEMU has dup'ed stays with it. QMP `remove-fd`. */
export async function removeFd(monitor: Monitor, { fdset, number }: PassedFd): Promise<void> {
  await monitor.execute("remove-fd", { "fdset-id": fdset, fd: number });
}
