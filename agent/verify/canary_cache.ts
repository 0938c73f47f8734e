import type { AttachedGuest } from "../attached_guest.ts";
import type { Host } from "../host.ts";
import { formatContext } from "../label/context.ts";
import type { CanaryReport } from "./canary_report.ts";
import { runCanary } from "./canary.ts";

/**
 * The last canary of one guest. What it showed holds for the same context, user and mounts, until a
 * policy is loaded or booleans are switched.
 */
export class CanaryCache {
  #last: { readonly key: string; readonly report: CanaryReport } | undefined;

  readonly #run: typeof runCanary;

  /** @param run What starts a canary; tests put another one in its place. */
  constructor(run: typeof runCanary = runCanary) {
    this.#run = run;
  }

  /** Starts one whatever is known, and keeps what it showed. */
  async renew(attached: AttachedGuest, host: Host): Promise<CanaryReport> {
    const before = keyOf(attached, host);
    this.#last = undefined;
    const report = await this.#run(attached, host);
    // A policy that changed in the middle leaves a report of neither.
    if (before !== undefined && before === keyOf(attached, host)) {
      this.#last = { key: before, report };
    }
    return report;
  }

  /** What the last one showed, if that still holds. */
  get(attached: AttachedGuest, host: Host): CanaryReport | undefined {
    return this.#last?.key === keyOf(attached, host) ? this.#last?.report : undefined;
  }
}

/** `undefined` where nobody can tell whether the policy has changed. */
function keyOf({ context, credential, images }: AttachedGuest, host: Host): string | undefined {
  const status = host.selinux.status();
  if (status === undefined) return undefined;
  const mounts = new Set(images.map(({ ro }) => String(ro.stat().mountId)));
  const { uid, gid, groups } = credential;
  return JSON.stringify([formatContext(context), uid, gid, groups, [...mounts].sort(), status]);
}
