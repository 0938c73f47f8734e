import { formatContext } from "../../label/context.ts";
import type { PolicyDb } from "../binary/policydb.ts";
import type { Relation } from "./assertion.ts";
import type { Party } from "./expand.ts";

interface Levels {
  readonly source: string;
  readonly target: string;
}

/** Concrete levels: which categories two guests have makes no difference. */
const LEVELS: Readonly<Record<Relation | "none", Levels>> = {
  "same-categories": { source: "s0:c1,c2", target: "s0:c1,c2" },
  "other-categories": { source: "s0:c1,c2", target: "s0:c3,c4" },
  "no-categories": { source: "s0:c1,c2", target: "s0" },
  none: { source: "s0", target: "s0" },
};

/** Makes the contexts that a policy is asked about, for one relation. */
export class Contexts {
  readonly #db: PolicyDb;
  readonly #levels: Levels;
  readonly #made = new Map<string, string>();

  constructor(db: PolicyDb, relation: Relation | undefined) {
    this.#db = db;
    this.#levels = LEVELS[relation ?? "none"];
  }

  source({ type, context }: Party): string {
    return context ?? this.#make(type, this.#db.holderOf(type).user, this.#levels.source);
  }

  /** What is no process has the source's user: constraints on users are not what is asked about. */
  target({ type, context }: Party, source: Party): string {
    if (context !== undefined) return context;
    const { user, role } = this.#db.holderOf(type);
    const its = role === OBJECT_ROLE ? this.#db.holderOf(source.type).user : user;
    return this.#make(type, its, this.#levels.target);
  }

  /** Of the process that opened something: without categories, as daemons are. */
  opener({ type, context }: Party): string {
    return context ?? this.#make(type, this.#db.holderOf(type).user, LEVELS.none.source);
  }

  #make(type: string, user: string, level: string): string {
    const key = `${type} ${user} ${level}`;
    const made = this.#made.get(key) ?? formatContext({
      user,
      role: this.#db.holderOf(type).role,
      type,
      ...(this.#db.mls && { level }),
    });
    this.#made.set(key, made);
    return made;
  }
}

const OBJECT_ROLE = "object_r";
