import type { Access, Identity } from "../owned_fd.ts";
import type {
  AgentStartEvent,
  GrantEvent,
  IntentEvent,
  OutcomeEvent,
  RevokeEvent,
  Undo,
} from "./event.ts";
import type { Owner } from "../image/owner.ts";
import type { AuditRecord, Seal } from "./record.ts";

/** A grant that nothing has revoked. */
export type OpenGrant = GrantEvent & Seal;

/** An operation that has not ended, or of which nobody knows how. */
export type OpenIntent = IntentEvent & Seal;

/** A file that guests reference, or that an operation has touched and may have to put back. */
export interface Reference {
  readonly path: string;
  /** As the first operation found it; what has to come back when nobody references the file. */
  readonly original: { readonly label?: string; readonly owner?: Owner };
  readonly users: readonly User[];
}

/** One image of one guest that is this file or stands on it. */
export interface User {
  readonly guest: string;
  readonly image: string;
  /** `"rw"` while a writing grant is open. A user stays one after it: it may keep dups. */
  readonly access: Access;
  readonly shared: boolean;
  /** Id of the operation that made it one. */
  readonly operation: string;
}

/** A file or a node that an attach made; without an identity it had got no further than its name. */
export type Temporary = Extract<Undo, { readonly kind: "unlink" | "node" }>;

/** What the log says is so now: the fold of all its records, in order. */
export interface State {
  /** By id of the operation. */
  readonly intents: ReadonlyMap<string, OpenIntent>;
  readonly references: ReadonlyMap<Identity, Reference>;
  /** By guest; a guest without any is absent. */
  readonly grants: ReadonlyMap<string, readonly OpenGrant[]>;
  /** Levels in use, by guest. */
  readonly levels: ReadonlyMap<string, string>;
  /** Overlays and device nodes that are removed when their guest stops, by guest. */
  readonly temporary: ReadonlyMap<string, readonly Temporary[]>;
  /**
   * By path of an image that a snapshot froze: the overlay that took its place. Whoever writes the
   * frozen file again ruins the overlay.
   */
  readonly overlays: ReadonlyMap<string, string>;
  /** Of the last agent that started; it may be gone. */
  readonly agentStart: (AgentStartEvent & Seal) | undefined;
}

/** The state of an empty log, for {@linkcode fold}. */
export function emptyState(): State {
  return new Folded();
}

/**
 * Takes the next record into `state`, which must come from {@linkcode emptyState}.
 *
 * @throws `TypeError` for an event that this version does not know: it may have granted something.
 */
export function fold(state: State, record: AuditRecord): void {
  if (!(state instanceof Folded)) throw new TypeError("Cannot fold: not a state of emptyState()");
  state.take(record);
}

/** `plan` of a snapshot's intent: each image, and the overlay that is to take its place. */
export type SnapshotPlan = readonly { readonly freeze: string; readonly overlay: string }[];

interface MutableReference {
  path: string;
  original: { label?: string; owner?: Owner };
  users: MutableUser[];
  /** Operations whose undo names the file, and their guests. */
  touched: Map<string, string>;
}

type MutableUser = { -readonly [K in keyof User]: User[K] };

class Folded implements State {
  readonly intents: Map<string, OpenIntent> = new Map();
  readonly references: Map<Identity, MutableReference> = new Map();
  readonly grants: Map<string, OpenGrant[]> = new Map();
  readonly levels: Map<string, string> = new Map();
  readonly temporary: Map<string, readonly Temporary[]> = new Map();
  readonly overlays: Map<string, string> = new Map();
  agentStart: (AgentStartEvent & Seal) | undefined = undefined;
  /** By guest: the operation that reserved its level. */
  readonly #reservedBy: Map<string, string> = new Map();

  take(record: AuditRecord): void {
    switch (record.event) {
      case "agent-start":
        this.agentStart = record;
        return;
      case "intent":
        return this.#intend(record);
      case "grant":
        return this.#grant(record);
      case "revoke":
        return this.#revoke(record);
      case "outcome":
        return this.#end(record);
      case "boolean":
      case "verify":
      case "deny":
      case "recover":
      case "finding":
        return;
      default: {
        const { event, seq } = record as { event: string; seq: number };
        throw new TypeError(
          `Cannot use the log: seq ${seq} is a "${event}", written by a newer svirt-agent`,
        );
      }
    }
  }

  #intend(intent: OpenIntent): void {
    const { id, guest } = intent;
    this.intents.set(id, intent);
    if (intent.operation === "attach") {
      const made = intent.undo.flatMap((it) =>
        it.kind === "unlink" || it.kind === "node" ? [it] : []
      );
      if (made.length > 0) this.temporary.set(guest, made);
    }
    for (const undo of intent.undo) {
      if (undo.kind === "level") {
        this.levels.set(guest, undo.level);
        this.#reservedBy.set(guest, id);
      } else if (undo.kind === "label" || undo.kind === "owner") {
        const reference = this.#reference(undo.identity, undo.path);
        reference.touched.set(id, guest);
        // The first one found the file as it was; later ones find what the agent made of it.
        if (undo.kind === "label") reference.original.label ??= undo.label;
        else {
          const { uid, gid, mode, acl } = undo;
          reference.original.owner ??= { uid, gid, mode, ...(acl && { acl }) };
        }
      }
    }
  }

  #grant(grant: OpenGrant): void {
    const { guest, image, identity, path, shared, operation } = grant;
    this.grants.set(guest, [...this.grants.get(guest) ?? [], grant]);
    const { users } = this.#reference(identity, path);
    const user = users.find((user) => user.guest === guest && user.image === image);
    if (user === undefined) users.push({ guest, image, access: "ro", shared, operation });
    else user.shared = shared;
    this.#settle(identity);
  }

  #revoke({ guest, image, identity, left }: RevokeEvent): void {
    this.#keepGrants(guest, (grant) =>
      grant.identity !== identity || grant.image !== image ||
      (left === "ro" && grant.mode === "ro"));
  }

  #end({ operation, guest, result }: OutcomeEvent): void {
    const intent = this.intents.get(operation);
    if (intent === undefined || result === "unknown") return;
    this.intents.delete(operation);
    if (result === "done") {
      if (intent.operation === "detach") this.#forget((_, owner) => owner === guest);
      if (intent.operation === "snapshot") this.#freeze(intent.plan as SnapshotPlan);
    } else if (result === "undone" || intent.operation === "attach") {
      this.#forget((id) => id === operation);
    }
  }

  #freeze(plan: SnapshotPlan): void {
    for (const { freeze, overlay } of plan) this.overlays.set(freeze, overlay);
  }

  /** Ends what chosen operations, each with its guest, opened. */
  #forget(chosen: (operation: string, guest: string) => boolean): void {
    for (const guest of [...this.grants.keys()]) {
      this.#keepGrants(guest, (grant) => !chosen(grant.operation, guest));
    }
    for (const [guest, operation] of this.#reservedBy) {
      if (!chosen(operation, guest)) continue;
      this.levels.delete(guest);
      this.temporary.delete(guest);
      this.#reservedBy.delete(guest);
    }
    for (const [identity, { users, touched }] of this.references) {
      const staying = users.filter((user) => !chosen(user.operation, user.guest));
      users.splice(0, users.length, ...staying);
      for (const [id, guest] of touched) if (chosen(id, guest)) touched.delete(id);
      if (users.length === 0 && touched.size === 0) this.references.delete(identity);
    }
  }

  #keepGrants(guest: string, keep: (grant: OpenGrant) => boolean): void {
    const before = this.grants.get(guest) ?? [];
    const after = before.filter(keep);
    if (after.length === 0) this.grants.delete(guest);
    else this.grants.set(guest, after);
    for (const { identity } of before) this.#settle(identity);
  }

  /** Computes the users' access from the grants that are open. */
  #settle(identity: Identity): void {
    for (const user of this.references.get(identity)?.users ?? []) {
      const writes = this.grants.get(user.guest)?.some((grant) =>
        grant.identity === identity && grant.image === user.image && grant.mode === "rw"
      );
      user.access = writes ? "rw" : "ro";
    }
  }

  #reference(identity: Identity, path: string): MutableReference {
    let reference = this.references.get(identity);
    if (reference === undefined) {
      reference = { path, original: {}, users: [], touched: new Map() };
      this.references.set(identity, reference);
    }
    return reference;
  }
}
