import {
  libsepol,
  type Opaque,
  type Out,
  SEPOL_COMPUTEAV_BOUNDS,
  SEPOL_COMPUTEAV_CONS,
  SEPOL_COMPUTEAV_RBAC,
  SEPOL_COMPUTEAV_TE,
  takeText,
} from "../../ffi/libsepol.ts";
import type { PolicyDb } from "./binary/policydb.ts";
import type { PolicyClass } from "./binary/symbols.ts";
import type { PolicyAnswer, PolicyDecision, Question } from "./engine.ts";

/** libsepol has one policy at a time; a `LoadedPolicy` that is asked after another was loaded is wrong. */
let current: LoadedPolicy | undefined;
let loaded = 0;

/** Bytes of all policies that this process has loaded: libsepol keeps each, some six times its size. */
export function bytesLoaded(): number {
  return loaded;
}

/**
 * One policy, with one value for each boolean, in libsepol: the code that decides in the kernel,
 * constraints included.
 */
export class LoadedPolicy {
  readonly #db: PolicyDb;
  readonly #contexts = new Map<string, KnownContext>();
  readonly #answers = new Map<PolicyDecision, Map<string, PolicyAnswer>>();

  /**
   * @param image A binary policy; lent.
   * @param db What stands in it.
   * @throws `RangeError` when the library cannot read it.
   */
  constructor(image: Uint8Array, db: PolicyDb) {
    const sepol = libsepol();
    sepol.sepol_debug(0);
    const stream = sepol.fmemopen(image, image.length, "r");
    loaded += image.length;
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
  answer(question: Omit<Question, "booleans">): PolicyAnswer {
    if (!this.isCurrent) throw new Error("Another policy was loaded since");
    const { source, target, tclass, permissions } = question;
    const from = this.#known(source);
    const to = this.#known(target);
    const known = this.#db.classes.get(tclass);
    if (from.sid === undefined) return unknown(permissions, this.#lacks(source));
    if (to.sid === undefined) return unknown(permissions, this.#lacks(target));
    if (known === undefined) return unknown(permissions, `class "${tclass}"`);
    const { permissive } = from;
    if (permissions.length === 1) {
      const decision = decideOne(from.sid, to.sid, known, permissions[0]!, question.brief);
      return this.#answerOf(permissions[0]!, decision, permissive);
    }
    return { permissive, decisions: decide(from.sid, to.sid, known, question) };
  }

  /** Most questions are about one permission, and most answers the same few: these are made once. */
  #answerOf(permission: string, decision: PolicyDecision, permissive: boolean): PolicyAnswer {
    const make = () => ({ permissive, decisions: new Map([[permission, decision]]) });
    if (permissive || !COMMON.has(decision)) return make();
    let made = this.#answers.get(decision);
    if (made === undefined) this.#answers.set(decision, made = new Map());
    let answer = made.get(permission);
    if (answer === undefined) made.set(permission, answer = make());
    return answer;
  }

  /**
   * What keeps a context from being one of this policy.
   *
   * @throws `Error` when another policy was loaded since.
   */
  lacks(context: string): string | undefined {
    if (!this.isCurrent) throw new Error("Another policy was loaded since");
    return this.#known(context).sid === undefined ? this.#lacks(context) : undefined;
  }

  #known(context: string): KnownContext {
    const known = this.#contexts.get(context);
    if (known !== undefined) return known;
    const out: Out<number> = [null];
    const found = libsepol().sepol_context_to_sid(context, context.length + 1, out) === 0;
    const permissive = this.#db.isPermissive(typeIn(context));
    const made = { sid: found ? out[0]! : undefined, permissive };
    this.#contexts.set(context, made);
    return made;
  }

  #lacks(context: string): string {
    const type = typeIn(context);
    return this.#db.valueOf(type) === undefined ? `type "${type}"` : `context "${context}"`;
  }
}

/** What was found out about a context once. */
interface KnownContext {
  /** Its number in libsepol's table; `undefined` when the policy has no such context. */
  readonly sid: number | undefined;
  readonly permissive: boolean;
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
const BY_RULES: PolicyDecision = { answer: "denied", by: "te", audited: true };
const SILENTLY: PolicyDecision = { answer: "denied", by: "te", audited: false };

const COMMON: ReadonlySet<PolicyDecision> = new Set([ALLOWED, BY_RULES, SILENTLY]);

function decide(
  ssid: number,
  tsid: number,
  tclass: PolicyClass,
  { permissions, brief }: Pick<Question, "permissions" | "brief">,
): ReadonlyMap<string, PolicyDecision> {
  const bits = permissions.map((permission) => bitOf(tclass.permissions, permission));
  let asked = 0;
  for (const bit of bits) asked |= bit;
  const reason = compute(ssid, tsid, tclass.value, asked >>> 0);
  const [allowed, auditdeny] = [AVD[AVD_ALLOWED]!, AVD[AVD_AUDITDENY]!];
  const decisions = new Map<string, PolicyDecision>();
  for (const [i, bit] of bits.entries()) {
    const permission = permissions[i]!;
    // One reason for all that is denied, or each has to be asked for alone.
    const isClear = bit === 0 || (allowed & bit) !== 0 || isSingle(reason);
    decisions.set(
      permission,
      isClear
        ? decisionOf(ssid, tsid, tclass, permission, bit, allowed, auditdeny, reason, brief)
        : decideOne(ssid, tsid, tclass, permission, brief),
    );
  }
  return decisions;
}

function decideOne(
  ssid: number,
  tsid: number,
  tclass: PolicyClass,
  permission: string,
  brief: boolean | undefined,
): PolicyDecision {
  const bit = bitOf(tclass.permissions, permission);
  const reason = compute(ssid, tsid, tclass.value, bit);
  const [allowed, auditdeny] = [AVD[AVD_ALLOWED]!, AVD[AVD_AUDITDENY]!];
  return decisionOf(ssid, tsid, tclass, permission, bit, allowed, auditdeny, reason, brief);
}

function decisionOf(
  ssid: number,
  tsid: number,
  { name, value }: PolicyClass,
  permission: string,
  bit: number,
  allowed: number,
  auditdeny: number,
  reason: number,
  brief = false,
): PolicyDecision {
  if (bit === 0) {
    const missing = `permission "${permission}" of class "${name}"`;
    return { answer: "unknown", by: "unknown", audited: false, missing };
  }
  if ((allowed & bit) !== 0) return ALLOWED;
  const audited = (auditdeny & bit) !== 0;
  if (reason === SEPOL_COMPUTEAV_TE) return audited ? BY_RULES : SILENTLY;
  const text = brief ? undefined : constraintOf(ssid, tsid, value, bit, reason);
  const constraint = text !== undefined && { constraint: text };
  return { answer: "denied", by: "constraint", audited, ...constraint };
}

/** 0 for a permission that the class does not have. */
function bitOf(names: readonly string[], permission: string): number {
  const index = names.indexOf(permission);
  return index < 0 ? 0 : (1 << index) >>> 0;
}

/** Is it the only one of SEPOL_COMPUTEAV_*? */
function isSingle(reason: number): boolean {
  return (reason & reason - 1) === 0;
}

/** struct sepol_av_decision, filled by each call: memory of its own for each would cost more than the call. */
const AVD = new Uint32Array(5);
const AVD_ALLOWED = 0;
const AVD_AUDITDENY = 3;
const REASON = new Uint32Array(1);

/** Fills {@linkcode AVD}; answers why not all is allowed. */
function compute(ssid: number, tsid: number, tclass: number, requested: number): number {
  if (libsepol().sepol_compute_av_reason(ssid, tsid, tclass, requested, AVD, REASON) !== 0) {
    throw new Error("sepol_compute_av_reason failed");
  }
  return REASON[0]!;
}

/** What denies besides rules of types, in words; of a constraint its text, with what failed in it. */
function constraintOf(ssid: number, tsid: number, tclass: number, bit: number, reason: number) {
  if ((reason & SEPOL_COMPUTEAV_CONS) === 0) return OTHERS[reason] ?? "not known which";
  const text: Out<Opaque> = [null];
  libsepol().sepol_compute_av_reason_buffer(ssid, tsid, tclass, bit, AVD, REASON, text, 0);
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
