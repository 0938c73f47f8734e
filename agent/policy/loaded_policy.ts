import {
  libsepol,
  type Opaque,
  type Out,
  SEPOL_COMPUTEAV_BOUNDS,
  SEPOL_COMPUTEAV_CONS,
  SEPOL_COMPUTEAV_RBAC,
  SEPOL_COMPUTEAV_TE,
  type SepolAvDecision,
  takeText,
} from "../../ffi/libsepol.ts";
import type { PolicyDb } from "./binary/policydb.ts";
import type { PolicyClass } from "./binary/symbols.ts";
import type { PolicyAnswer, PolicyDecision, Question } from "./engine.ts";

/** libsepol has one policy at a time; a `LoadedPolicy` that is asked after another was loaded is wrong. */
let current: LoadedPolicy | undefined;
let loads = 0;

/** How often this process has loaded a policy: libsepol keeps each one, some six times its size. */
export function policiesLoaded(): number {
  return loads;
}

/**
 * One policy, with one value for each boolean, in libsepol: the code that decides in the kernel,
 * constraints included.
 */
export class LoadedPolicy {
  readonly #db: PolicyDb;
  readonly #sids = new Map<string, number | undefined>();

  /**
   * @param image A binary policy; lent.
   * @param db What stands in it.
   * @throws `RangeError` when the library cannot read it.
   */
  constructor(image: Uint8Array, db: PolicyDb) {
    const sepol = libsepol();
    sepol.sepol_debug(0);
    const stream = sepol.fmemopen(image, image.length, "r");
    loads++;
    const failed = sepol.sepol_set_policydb_from_file(stream) !== 0;
    sepol.fclose(stream);
    if (failed) throw new RangeError("libsepol cannot read this policy");
    this.#db = db;
    current = this;
  }

  /** Is it the one that libsepol answers for? */
  get isCurrent(): boolean {
    return current === this;
  }

  /** @throws `Error` when another policy was loaded since. */
  answer({ source, target, tclass, permissions }: Omit<Question, "booleans">): PolicyAnswer {
    if (!this.isCurrent) throw new Error("Another policy was loaded since");
    const ssid = this.#sid(source);
    const tsid = this.#sid(target);
    const known = this.#db.classes.get(tclass);
    const permissive = this.#db.isPermissive(typeIn(source));
    if (ssid === undefined) return unknown(permissions, this.#lacks(source));
    if (tsid === undefined) return unknown(permissions, this.#lacks(target));
    if (known === undefined) return unknown(permissions, `class "${tclass}"`);
    return { permissive, decisions: decide(ssid, tsid, known, permissions) };
  }

  /** Number of a context in libsepol's table; `undefined` when the policy has no such context. */
  #sid(context: string): number | undefined {
    if (this.#sids.has(context)) return this.#sids.get(context);
    const sid: Out<number> = [null];
    const found = libsepol().sepol_context_to_sid(context, context.length + 1, sid) === 0;
    this.#sids.set(context, found ? sid[0]! : undefined);
    return found ? sid[0]! : undefined;
  }

  /**
   * What keeps a context from being one of this policy.
   *
   * @throws `Error` when another policy was loaded since.
   */
  lacks(context: string): string | undefined {
    if (!this.isCurrent) throw new Error("Another policy was loaded since");
    return this.#sid(context) === undefined ? this.#lacks(context) : undefined;
  }

  #lacks(context: string): string {
    const type = typeIn(context);
    return this.#db.valueOf(type) === undefined ? `type "${type}"` : `context "${context}"`;
  }
}

/** Third field of a context. */
function typeIn(context: string): string {
  return context.split(":", 3)[2] ?? "";
}

function unknown(permissions: readonly string[], missing: string): PolicyAnswer {
  const decision = { answer: "unknown", by: "unknown", audited: false, missing } as const;
  return { permissive: false, decisions: new Map(permissions.map((it) => [it, decision])) };
}

const ALLOWED: PolicyDecision = { answer: "allowed", by: "te", audited: false };

function decide(
  ssid: number,
  tsid: number,
  { name, value, permissions: names }: PolicyClass,
  permissions: readonly string[],
): ReadonlyMap<string, PolicyDecision> {
  const bits = permissions.map((permission) => bitOf(names, permission));
  const asked = bits.reduce((all, bit) => (all | bit) >>> 0, 0);
  const { avd, reason } = compute(ssid, tsid, value, asked);
  const decisions = bits.map((bit, i): PolicyDecision => {
    if (bit === 0) {
      const missing = `permission "${permissions[i]}" of class "${name}"`;
      return { answer: "unknown", by: "unknown", audited: false, missing };
    }
    if ((avd.allowed & bit) !== 0) return ALLOWED;
    const audited = (avd.auditdeny & bit) !== 0;
    // One reason for all of them, or each has to be asked for alone.
    const why = reason === SEPOL_COMPUTEAV_TE ? reason : compute(ssid, tsid, value, bit).reason;
    if (why === SEPOL_COMPUTEAV_TE) return { answer: "denied", by: "te", audited };
    const constraint = constraintOf(ssid, tsid, value, bit, why);
    return { answer: "denied", by: "constraint", audited, constraint };
  });
  return new Map(permissions.map((permission, i) => [permission, decisions[i]!]));
}

/** 0 for a permission that the class does not have. */
function bitOf(names: readonly string[], permission: string): number {
  const index = names.indexOf(permission);
  return index < 0 ? 0 : (1 << index) >>> 0;
}

function compute(ssid: number, tsid: number, tclass: number, requested: number) {
  const avd = {} as SepolAvDecision;
  const reason: Out<number> = [null];
  if (libsepol().sepol_compute_av_reason(ssid, tsid, tclass, requested, avd, reason) !== 0) {
    throw new Error("sepol_compute_av_reason failed");
  }
  return { avd, reason: reason[0]! };
}

/** What denies besides rules of types, in words; of a constraint its text, with what failed in it. */
function constraintOf(ssid: number, tsid: number, tclass: number, bit: number, reason: number) {
  if ((reason & SEPOL_COMPUTEAV_CONS) === 0) return OTHERS[reason] ?? "not known which";
  const avd = {} as SepolAvDecision;
  const [why, text]: [Out<number>, Out<Opaque>] = [[null], [null]];
  libsepol().sepol_compute_av_reason_buffer(ssid, tsid, tclass, bit, avd, why, text, 0);
  return (takeText(text[0]) ?? "")
    .split("\n")
    .map((line) =>
      line.replace(/; Constraint DENIED$/, "").replaceAll(/\s+/g, " ").replaceAll(" )", ")").trim()
    )
    .filter((line) => line !== "")
    .join("; ");
}

const OTHERS: Readonly<Record<number, string>> = {
  [SEPOL_COMPUTEAV_RBAC]: "no role allow rule from the source's role to the target's",
  [SEPOL_COMPUTEAV_BOUNDS]: "typebounds: the type that bounds the source has no such permission",
};
