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

  /** @param missing What the policy does not allow, where it was asked. */
  constructor(path: string, missing: readonly string[] = []) {
    const why = missing.length > 0 ? `: the policy lacks ${missing.join(" and ")}` : "";
    super(`"${path}": the kernel dropped the descriptor on its way to the guest${why}`);
    this.path = path;
    this.hint =
      "The kernel's record: ausearch -m AVC -ts recent. The module of this project grants " +
      "it; see policies/README.md";
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
      throw new DroppedError(fd.path);
    }
    throw error;
  }
}

/**
 * Finds a descriptor that QEMU put into an fdset when it started, by the text it was given. QMP
 * `query-fdsets`.
 */
export async function inheritedFd(
  monitor: Monitor,
  fdset: number,
  opaque: string,
): Promise<PassedFd> {
  const found = (await listFds(monitor)).find((fd) => fd.fdset === fdset && fd.opaque === opaque);
  if (found !== undefined && Number.isSafeInteger(found.number)) {
    return { fdset, number: found.number };
  }
  throw new MonitorError(`${monitor.path}: fdset ${fdset} has no descriptor "${opaque}"`);
}

/** Does QEMU list this descriptor as its own? */
export async function isInFdset(
  monitor: Monitor,
  { fdset, number }: PassedFd,
  timeoutMs?: number,
): Promise<boolean> {
  const listed = await listFds(monitor, timeoutMs);
  return listed.some((fd) => fd.fdset === fdset && fd.number === number);
}

/** A descriptor as QMP `query-fdsets` lists it: neither its mode nor its duplicates are shown. */
export interface ListedFd extends PassedFd {
  /** The text that it was passed with. */
  readonly opaque: string | undefined;
}

/** Every descriptor in QEMU's fdsets. QMP `query-fdsets`. */
export async function listFds(monitor: Monitor, timeoutMs?: number): Promise<ListedFd[]> {
  const options = timeoutMs === undefined ? {} : { timeoutMs };
  const sets = await monitor.execute("query-fdsets", {}, options) as readonly {
    readonly "fdset-id": number;
    readonly fds: readonly { readonly fd: number; readonly opaque?: string }[];
  }[];
  return sets.flatMap(({ "fdset-id": fdset, fds }) =>
    fds.map(({ fd, opaque }) => ({ fdset, number: fd, opaque }))
  );
}

/** Takes one descriptor out of an fdset; what QEMU has dup'ed stays with it. QMP `remove-fd`. */
export async function removeFd(
  monitor: Monitor,
  { fdset, number }: PassedFd,
  timeoutMs?: number,
): Promise<void> {
  const args = { "fdset-id": fdset, fd: number };
  await monitor.execute("remove-fd", args, timeoutMs === undefined ? {} : { timeoutMs });
}
