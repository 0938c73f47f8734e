import { readFileSync } from "node:fs";
import { SystemError } from "../../ffi/errno.ts";
import { parseContext } from "../label/context.ts";
import { kernel } from "../label/selinux.ts";
import { PolicyDb } from "./binary/policydb.ts";
import { keepsValues } from "./binary/with_booleans.ts";
import type { PolicyAnswer, PolicyDecision, PolicyEngine, Question } from "./engine.ts";
import { livePolicy } from "./live.ts";
import { OfflinePolicy } from "./offline.ts";

/** Where a kernel shows the policy that it enforces, with booleans as they are; root may read it. */
export const RUNNING_POLICY = "/sys/fs/selinux/policy";

/**
 * The policy that the running kernel enforces. The kernel itself answers for booleans as they are;
 * for other values libsepol does, from the same policy.
 */
export class LiveEngine implements PolicyEngine {
  readonly origin = "the running kernel";
  readonly db: PolicyDb;
  readonly #bytes: Uint8Array;
  #offline: OfflinePolicy | undefined;

  /** @throws what node:fs says where the policy cannot be read: without root, without SELinux. */
  constructor() {
    this.#bytes = readFileSync(RUNNING_POLICY);
    this.db = new PolicyDb(this.#bytes);
  }

  ask(questions: readonly Question[]): readonly PolicyAnswer[] {
    const answers = new Array<PolicyAnswer>(questions.length);
    const supposed: number[] = [];
    for (const [i, question] of questions.entries()) {
      if (keepsValues(this.db, question.booleans ?? {})) answers[i] = this.#askKernel(question);
      else supposed.push(i);
    }
    const answered = supposed.length === 0
      ? []
      : this.#askLibsepol(supposed.map((i) => questions[i]!));
    for (const [nth, i] of supposed.entries()) answers[i] = answered[nth]!;
    return answers;
  }

  lacks(contexts: readonly string[]): readonly (string | undefined)[] {
    return contexts.map((context) => {
      if (kernel.knows(parseContext(context))) return undefined;
      this.#offline ??= new OfflinePolicy(this.#bytes, RUNNING_POLICY);
      return this.#offline.lacks([context])[0] ?? `context "${context}"`;
    });
  }

  [Symbol.dispose](): void {
    this.#offline?.[Symbol.dispose]();
  }

  #askLibsepol(questions: readonly Question[]): readonly PolicyAnswer[] {
    this.#offline ??= new OfflinePolicy(this.#bytes, RUNNING_POLICY);
    return this.#offline.ask(questions);
  }

  #askKernel(question: Question): PolicyAnswer {
    const { source, target, tclass, permissions } = question;
    let access;
    try {
      access = livePolicy.access(parseContext(source), parseContext(target), tclass);
    } catch (error) {
      // A context that the kernel does not know: libsepol says which part of it.
      if (error instanceof SystemError && error.code === "EINVAL") {
        return this.#askLibsepol([question])[0]!;
      }
      throw error;
    }
    const decisions = permissions.map((permission): PolicyDecision => {
      const decision = access.decide(permission);
      if (decision.answer === "unknown") {
        const known = this.db.classes.has(tclass);
        const missing = known
          ? `permission "${permission}" of class "${tclass}"`
          : `class "${tclass}"`;
        return { ...decision, audited: false, missing };
      }
      const audited = decision.answer === "denied" && access.isAudited(permission);
      return { ...decision, audited };
    });
    return {
      permissive: access.permissive,
      decisions: new Map(permissions.map((permission, i) => [permission, decisions[i]!])),
    };
  }
}
