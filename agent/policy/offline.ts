import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { libsepol } from "../../ffi/libsepol.ts";
import { commandFor } from "../process/runtime.ts";
import { PolicyFormatError } from "./binary/cursor.ts";
import { PolicyDb } from "./binary/policydb.ts";
import { type BooleanValues, valuesOf, withBooleans } from "./binary/with_booleans.ts";
import type { PolicyAnswer, PolicyEngine, Question } from "./engine.ts";
import { bytesLoaded, LoadedPolicy } from "./loaded_policy.ts";
import { decodeAnswers, encodeTask } from "./offline_task.ts";
import { HintedError } from "../hinted_error.ts";

/** What cannot be asked is not denied: the file is no policy, or libsepol here is too old for it. */
export class PolicyFileError extends HintedError {
  override readonly name = "PolicyFileError";
}

/** Of policies that one process loads, in bytes; that is some sixteen of a distribution's. */
const MOST_LOADED = 32 << 20;

/** A binary policy, asked on any machine. */
export class OfflinePolicy implements PolicyEngine {
  readonly origin: string;
  readonly db: PolicyDb;
  readonly #bytes: Uint8Array;
  readonly #mostLoaded: number;
  #loaded:
    | { readonly policy: LoadedPolicy; readonly key: string; readonly booleans: BooleanValues }
    | undefined;

  /**
   * @param bytes A binary policy; kept.
   * @param origin What messages and reports call it.
   * @param mostLoaded Bytes of policies that this process may load; a process of its own that ends asks
   * about what comes then.
   * @throws {@linkcode PolicyFileError}
   */
  constructor(bytes: Uint8Array, origin: string, mostLoaded: number = MOST_LOADED) {
    this.origin = origin;
    this.#bytes = bytes;
    this.#mostLoaded = mostLoaded;
    this.db = parse(bytes, origin);
  }

  /** @throws {@linkcode PolicyFileError}, or what node:fs says of a file that cannot be read. */
  static read(path: string): OfflinePolicy {
    return new OfflinePolicy(readFileSync(path), path);
  }

  ask(questions: readonly Question[]): readonly PolicyAnswer[] {
    const booleans = questions[0]?.booleans ?? NONE;
    if (this.#loaded?.booleans === booleans && this.#loaded.policy.isCurrent) {
      const { policy } = this.#loaded;
      if (questions.every((it) => (it.booleans ?? NONE) === booleans)) {
        return questions.map((question) => policy.answer(question));
      }
    }
    const answers = new Array<PolicyAnswer>(questions.length);
    const batches = this.#batches(questions);
    // Before any of them is answered, here or elsewhere.
    for (const { booleans } of batches) valuesOf(this.db, booleans);
    const here = this.#loadable() + this.#isLoaded(batches[0]);
    const each = Math.max(1, Math.floor(MOST_LOADED / this.#bytes.length));
    for (const batch of batches.slice(0, here)) {
      const policy = this.#load(batch);
      for (const [place, question] of batch.places) answers[place] = policy.answer(question);
    }
    for (let first = here; first < batches.length; first += each) {
      const places = batches.slice(first, first + each).flatMap((batch) => batch.places);
      const answered = askInChild(this.#bytes, this.origin, places.map(([, question]) => question));
      for (const [i, [place]] of places.entries()) answers[place] = answered[i]!;
    }
    return answers;
  }

  lacks(contexts: readonly string[]): readonly (string | undefined)[] {
    // Values of booleans make no difference to contexts.
    const loaded = this.#loaded?.policy.isCurrent === true ? this.#loaded.policy : undefined;
    if (loaded !== undefined || this.#loadable() > 0) {
      const policy = loaded ?? this.#load({ booleans: NONE, key: keyOf(NONE), places: [] });
      return contexts.map((context) => policy.lacks(context));
    }
    const [tclass] = this.db.classes.values();
    const [permission] = tclass!.permissions;
    const questions = contexts.map((context): Question => ({
      source: context,
      target: context,
      tclass: tclass!.name,
      permissions: [permission!],
    }));
    return this.ask(questions).map(({ decisions }) => decisions.get(permission!)!.missing);
  }

  [Symbol.dispose](): void {
    this.#loaded = undefined;
  }

  /** Questions by the values of booleans; what is loaded comes first, because it costs nothing. */
  #batches(questions: readonly Question[]): Batch[] {
    const batches = new Map<string, Batch>();
    let last: Batch | undefined;
    for (const [place, question] of questions.entries()) {
      const { booleans = NONE } = question;
      // Most are asked with the same object of booleans as the one before.
      if (last?.booleans !== booleans) {
        const key = keyOf(booleans);
        last = batches.get(key) ?? { booleans, key, places: [] };
        batches.set(key, last);
      }
      last.places.push([place, question]);
    }
    return [...batches.values()].sort((a, b) => this.#isLoaded(b) - this.#isLoaded(a));
  }

  /** How often this policy may still be loaded here. */
  #loadable(): number {
    return Math.max(0, Math.floor((this.#mostLoaded - bytesLoaded()) / this.#bytes.length));
  }

  #isLoaded(batch: Batch | undefined): number {
    return Number(batch?.key === this.#loaded?.key && this.#loaded?.policy.isCurrent === true);
  }

  #load(batch: Batch): LoadedPolicy {
    if (this.#isLoaded(batch) === 1) return this.#loaded!.policy;
    const image = withBooleans(this.#bytes, this.db, batch.booleans);
    const policy = this.#loadedOf(image);
    this.#loaded = { policy, key: batch.key, booleans: batch.booleans };
    return policy;
  }

  #loadedOf(image: Uint8Array): LoadedPolicy {
    try {
      return new LoadedPolicy(image, this.db);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      throw new PolicyFileError(
        `"${this.origin}": ${error.message}`,
        "Is it damaged? Build it again: semodule -B, or what made it",
      );
    }
  }
}

/** Questions under the same values of booleans, each with its place among all. */
interface Batch {
  readonly booleans: BooleanValues;
  readonly key: string;
  readonly places: (readonly [place: number, question: Question])[];
}

const NONE: BooleanValues = {};

function keyOf(booleans: BooleanValues): string {
  return JSON.stringify(Object.entries(booleans).sort(([a], [b]) => a < b ? -1 : 1));
}

function parse(bytes: Uint8Array, origin: string): PolicyDb {
  const db = parsed(bytes, origin);
  const newest = libsepol().sepol_policy_kern_vers_max();
  if (db.version <= newest) return db;
  throw new PolicyFileError(
    `"${origin}" is of version ${db.version}: libsepol here reads up to ${newest}`,
    "Ask where libsepol is as new as the policy, or write it there as version " +
      `${newest}: policy-version = ${newest} in /etc/selinux/semanage.conf, then semodule -B`,
  );
}

function parsed(bytes: Uint8Array, origin: string): PolicyDb {
  try {
    return new PolicyDb(bytes);
  } catch (error) {
    if (!(error instanceof PolicyFormatError)) throw error;
    throw new PolicyFileError(`"${origin}" is no binary policy: ${error.message}`, error.hint);
  }
}

/** Asks in a process that ends, and with it what libsepol keeps. */
function askInChild(
  bytes: Uint8Array,
  origin: string,
  questions: readonly Question[],
): PolicyAnswer[] {
  const [command, ...args] = commandFor(import.meta.url, "offline_child");
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    input: encodeTask({ bytes, origin, questions }),
    maxBuffer: Infinity,
  });
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`asking a policy ended with ${status}: ${String(stderr)}`);
  return decodeAnswers(String(stdout));
}
