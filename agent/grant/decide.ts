/**
 * Who may have what, now. One pure decision that attach, operations, the hook and the proxy all ask:
 * an inode is written by one guest alone, or read by several that have all agreed to share it.
 *
 * @module
 */

import type { Access, Identity } from "../owned_fd.ts";

/** What a guest, or an operation for it, asks for. */
export interface GrantRequest {
  readonly guest: string;
  /** The image's name in the guest file, also for a backing file of it. */
  readonly image: string;
  /** For messages; only the identity decides. */
  readonly path: string;
  readonly identity: Identity;
  readonly access: Access;
  /** Does the guest file allow other guests to read the file too? */
  readonly shared: boolean;
  /** `attach`, `commit`, ...; `commit` asks for a lease. */
  readonly reason: string;
  /** RFC 3339; when a lease ends by itself. */
  readonly deadline?: string | undefined;
}

/** One image of one guest that uses a file; a guest stays one as long as it may hold a descriptor. */
export interface ImageUser {
  readonly guest: string;
  readonly image: string;
  readonly access: Access;
  readonly shared: boolean;
}

/** What is granted already. Of several requests decided together, it includes the earlier ones. */
export interface GrantState {
  references(identity: Identity): readonly ImageUser[];
}

/**
 * Why a grant is refused.
 *
 * - `no-deadline`: a lease has to end
 * - `write-to-shared`: what may be shared is never written
 * - `lease-referenced`: a lease on a file that another guest uses
 * - `referenced`: another guest uses it, and one of the two would write
 * - `shared-not-agreed`: both would only read, but not both guest files say `shared = true`
 * - `twice`: the same guest has it under another image name
 */
export type RefusalReason =
  | "no-deadline"
  | "write-to-shared"
  | "lease-referenced"
  | "referenced"
  | "shared-not-agreed"
  | "twice";

/** The answer; `user` is what a granted request adds to the state. */
export type GrantDecision =
  | { readonly granted: true; readonly user: ImageUser; readonly deadline: string | null }
  | {
    readonly granted: false;
    readonly reason: RefusalReason;
    /** Full sentence that names the guest and image in the way. */
    readonly text: string;
    /** What to do about it, as a full sentence. */
    readonly hint: string;
  };

/** Promises 2 and 4: nobody else's image, and write access only where nobody else looks on. */
export function decide(request: GrantRequest, state: GrantState): GrantDecision {
  const { guest, image, access, shared, deadline } = request;
  const isLease = access === "rw" && request.reason === "commit";
  if (isLease && deadline === undefined) return refuse(request, "no-deadline");
  if (access === "rw" && shared) return refuse(request, "write-to-shared");

  const users = state.references(request.identity);
  const others = users.filter((user) => user.guest !== guest);
  const writer = others.find((user) => user.access === "rw");
  const inTheWay = access === "rw" ? writer ?? others[0] : writer;
  if (inTheWay) return refuse(request, isLease ? "lease-referenced" : "referenced", inTheWay);
  const unshared = others.find((user) => !user.shared) ?? (shared ? undefined : others[0]);
  if (unshared) return refuse(request, "shared-not-agreed", unshared);

  const twice = users.find((user) => user.guest === guest && user.image !== image);
  if (twice) return refuse(request, "twice", twice);
  return { granted: true, user: { guest, image, access, shared }, deadline: deadline ?? null };
}

type Wording = (request: GrantRequest, user: string, by: ImageUser | undefined) => [
  text: string,
  hint: string,
];

const WORDING: Readonly<Record<RefusalReason, Wording>> = {
  "no-deadline": () => [
    "a commit needs a deadline, after which the file cannot be written any longer.",
    "Say how long the commit may take.",
  ],
  "write-to-shared": () => [
    "its guest file says shared = true, and what may be shared is never written.",
    "Set shared = false for it if no other guest uses it.",
  ],
  "lease-referenced": (_, user) => [
    `${user} uses it, and would see its disk change.`,
    `Detach ${user}, or commit into a copy of your own.`,
  ],
  "referenced": ({ access }, user, by) => [
    `${user} ${by?.access === "rw" ? "may write" : "reads"} it.`,
    access === "rw"
      ? `Detach ${user}, or put an overlay on it and write there.`
      : `Detach ${user} first; while it may write the file nobody else gets it.`,
  ],
  "shared-not-agreed": ({ guest, shared }, user, by) => {
    const silent = [...(shared ? [] : [guest]), ...(by && !by.shared ? [by.guest] : [])];
    return [
      `${user} reads it, and the guest file of ${silent.join(" and of ")} does not share it.`,
      `Set shared = true for it in the guest file of ${silent.join(" and of ")}, if that is meant.`,
    ];
  },
  "twice": (_, user) => [
    `it has it already as ${user}; taking one away would leave the other.`,
    "Give each image of a guest a file of its own.",
  ],
};

function refuse(request: GrantRequest, reason: RefusalReason, by?: ImageUser): GrantDecision {
  const { guest, image, path, access } = request;
  const what = access === "rw" ? "write" : "read";
  const user = by === undefined ? "" : `${by.guest} (image ${by.image})`;
  const [why, hint] = WORDING[reason](request, user, by);
  const text = `${guest} (image ${image}) may not ${what} ${JSON.stringify(path)}: ${why}`;
  return { granted: false, reason, text, hint };
}
