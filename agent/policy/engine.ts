/**
 * What every part of `svirt-agent policy` asks: one interface, answered offline by libsepol with a
 * binary policy, or live by the kernel.
 *
 * @module
 */

import type { Decision } from "../verify/verdict.ts";
import type { PolicyDb } from "./binary/policydb.ts";
import type { BooleanValues } from "./binary/with_booleans.ts";

/** May this context do that to that one, with booleans so? */
export interface Question {
  /** `system_u:system_r:svirt_t:s0:c1,c2` */
  readonly source: string;
  readonly target: string;
  readonly tclass: string;
  readonly permissions: readonly string[];
  readonly booleans?: BooleanValues;
  /** The answers alone: the text of a constraint costs several times as much as they do. */
  readonly brief?: boolean;
}

/** What the policy says of one permission. */
export interface PolicyDecision extends Decision {
  /** For a denial: does it leave an AVC? Not where a `dontaudit` rule hides it. */
  readonly audited: boolean;
  /** For a denial by a constraint: its text, with the parts that failed. */
  readonly constraint?: string;
  /** For `unknown`: what the policy lacks, as a sentence's subject: `class "fil"`. */
  readonly missing?: string;
}

/** What the policy says of one question. */
export interface PolicyAnswer {
  /** By permission, in the order of the question. */
  readonly decisions: ReadonlyMap<string, PolicyDecision>;
  /** The source's domain is permissive: nothing is denied to it, whatever the decisions are. */
  readonly permissive: boolean;
}

/** A policy that can be asked. */
export interface PolicyEngine {
  /** `/etc/selinux/default/policy/policy.33`, or `the running kernel`. */
  readonly origin: string;
  /** What stands in it. */
  readonly db: PolicyDb;
  /**
   * Answers in the order of the questions. Questions with the same booleans cost least when they
   * are asked in one call.
   *
   * @throws `RangeError` for a boolean that the policy does not have.
   */
  ask(questions: readonly Question[]): readonly PolicyAnswer[];
  /**
   * What keeps each of these from being a context of the policy, as {@linkcode
   * PolicyDecision.missing}; `undefined` for one that it has.
   */
  lacks(contexts: readonly string[]): readonly (string | undefined)[];
  /** Gives up what it holds. */
  [Symbol.dispose](): void;
}
