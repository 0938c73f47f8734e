import { type AvDecision, libselinux, SELINUX_AVD_FLAGS_PERMISSIVE } from "../../ffi/libselinux.ts";
import { SystemError } from "../../ffi/errno.ts";
import { type Context, formatContext } from "../label/context.ts";
import type { Decision } from "../verify/verdict.ts";

/** The loaded policy's answer for one pair of contexts and one class. */
export interface Access {
  /** @returns `unknown` for a permission that the policy does not have. */
  decide(permission: string): Decision;
  /** The source's domain is permissive: nothing is denied to it whatever the rules say. */
  readonly permissive: boolean;
}

/** The running kernel's answer. */
export interface LiveAccess extends Access {
  /** Would a denial leave an AVC? Not where a `dontaudit` rule hides it. */
  isAudited(permission: string): boolean;
}

/** Answers "may this context do that to that one?" */
export interface Policy {
  access(source: Context, target: Context, targetClass: string): Access;
}

/** The running kernel, asked. */
export interface LivePolicy extends Policy {
  access(source: Context, target: Context, targetClass: string): LiveAccess;
}

/** The policy in the running kernel, with the booleans as they are; security_compute_av(3). */
export const livePolicy: LivePolicy = {
  access(source, target, targetClass) {
    const number = libselinux().string_to_security_class(targetClass);
    if (number === 0) return NOTHING_KNOWN;
    const asked = compute(source, target, number);
    // Would it be allowed at the target's own level? Then a constraint says no, else no rule says yes.
    const level = target.level ?? source.level;
    const same = compute(level === undefined ? source : { ...source, level }, target, number);
    return {
      isAudited: (permission) =>
        (asked.auditdeny & libselinux().string_to_av_perm(number, permission)) !== 0,
      permissive: (asked.flags & SELINUX_AVD_FLAGS_PERMISSIVE) !== 0,
      decide(permission) {
        const bit = libselinux().string_to_av_perm(number, permission);
        if (bit === 0) return { answer: "unknown", by: "unknown" };
        if ((asked.allowed & bit) !== 0) return { answer: "allowed", by: "te" };
        return { answer: "denied", by: (same.allowed & bit) !== 0 ? "constraint" : "te" };
      },
    };
  },
};

const NOTHING_KNOWN: LiveAccess = {
  permissive: false,
  isAudited: () => false,
  decide: () => ({ answer: "unknown", by: "unknown" }),
};

function compute(source: Context, target: Context, targetClass: number): AvDecision {
  const avd: Partial<AvDecision> = {};
  const [scon, tcon] = [formatContext(source), formatContext(target)];
  if (libselinux().security_compute_av_flags_raw(scon, tcon, targetClass, 0, avd) !== 0) {
    throw SystemError.last("security_compute_av_flags_raw", { path: `${scon} ${tcon}` });
  }
  return avd as AvDecision;
}
