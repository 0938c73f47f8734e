import type { FindingEvent } from "../audit/event.ts";
import type { Reference, State } from "../audit/state.ts";
import type { Host } from "../host.ts";
import { requireSame } from "../image/folder.ts";
import { shellWord } from "../image/image_error.ts";
import { findMoved } from "../image/moved.ts";
import { ownerText, writeOwner } from "../image/owner.ts";
import { removePrivateNode } from "../image/private_node.ts";
import { openToLook } from "../image/squash.ts";
import { isOurs } from "../label/assign.ts";
import { parseContext } from "../label/context.ts";
import type { Identity, OwnedFd } from "../owned_fd.ts";
import { removeOverlay } from "./overlay.ts";

/** What became of a guest's files. */
export interface GivenBack {
  /** For the log and the terminal. */
  readonly did: readonly string[];
  /** To be recorded: files that keep our label or owner, so that this has to be done again. */
  readonly findings: readonly FindingEvent[];
}

/**
 * Gives files their own label and owner back, as the log has them, where no other guest uses them,
 * and removes what was made for this guest to throw away.
 *
 * Only for a guest whose processes are all gone: a label that grants more must not come back while
 * one of them may hold a descriptor. Runs inside a transaction of the log together with the outcome:
 * of two guests that end at once, each would otherwise leave their base to the other. Safe to run
 * again; a file that cannot be given back is a finding, and the others still are.
 *
 * @param held Lent: descriptors of these files that the agent still has, by which a file is found
 * also when somebody has moved it.
 */
export function giveBack(
  guest: string,
  identities: Iterable<Identity>,
  state: State,
  host: Host,
  held: readonly OwnedFd[] = [],
): GivenBack {
  const did: string[] = [];
  const findings: FindingEvent[] = [];
  for (const identity of identities) {
    const reference = state.references.get(identity);
    if (reference === undefined || reference.users.some((user) => user.guest !== guest)) continue;
    const { path, original } = reference;
    try {
      const fd = held.find((fd) => fd.identity === identity);
      did.push(
        ...fd === undefined
          ? restoreWherever(path, identity, original, host)
          : restore(fd, original, host),
      );
    } catch (error) {
      if (isGone(error as Error & { code?: string })) {
        did.push(
          `${path} is gone; if it was moved out of its folder, its label comes back with restorecon -F`,
        );
        continue;
      }
      const text = `could not give back label and owner of ${path}: ${(error as Error).message}`;
      did.push(text);
      findings.push({
        event: "finding",
        id: "not-given-back",
        severity: "medium",
        guest,
        text,
        evidence: { path, identity, original: { ...original } },
        hint: `Restore them by hand: chcon ${original.label ?? "CONTEXT"} ${path}`,
      });
    }
  }
  for (const made of state.temporary.get(guest) ?? []) {
    const { path, identity } = made;
    try {
      did.push(
        ...made.kind === "node"
          ? removePrivateNode(path, made.identity)
          : removeOverlay(path, made.identity, host),
      );
    } catch (error) {
      const text = `could not remove ${LEFT[made.kind].what} ${path}: ${(error as Error).message}`;
      did.push(text);
      findings.push({
        event: "finding",
        id: "not-removed",
        severity: "medium",
        guest,
        text,
        evidence: { path, identity },
        hint: `${LEFT[made.kind].why} Remove it by hand: rm ${shellWord(path)}`,
      });
    }
  }
  return { did, findings };
}

/** What an attach made, for messages. */
const LEFT = {
  unlink: { what: "the transient", why: "It holds what the guest wrote." },
  node: { what: "the device node", why: "Whoever may open it has the device." },
} as const;

/** Where it was granted, or where somebody has moved it since. */
function restoreWherever(...[path, identity, original, host]: Parameters<typeof restoreFile>) {
  try {
    return restoreFile(path, identity, original, host);
  } catch (error) {
    if (!isGone(error as Error & { code?: string })) throw error;
    const moved = findMoved(host.folders, path, identity);
    if (moved === undefined) throw error;
    try {
      return restoreFile(moved, identity, original, host);
    } catch (again) {
      if (!isGone(again as Error & { code?: string })) throw again;
      // It is there, and will be when names stay for longer than it takes to look.
      throw new Error(`it was seen as ${moved}, and is being moved`, { cause: again });
    }
  }
}

/** Deleted, or moved away and another one put in its place: there is nothing to give back. */
function isGone({ code }: { code?: string }): boolean {
  return code === "ENOENT" || code === "replaced";
}

/**
 * Is it the file that was granted? After a reboot its device may have another number (NFS, btrfs and
 * device mapper number them anew); the same inode with a label of ours is no chance.
 *
 * @throws `ImageError` `replaced`.
 */
export function requireStill(fd: OwnedFd, identity: Identity, selinux: Host["selinux"]): void {
  const inode = identity.split(":")[2];
  const label = selinux.readLabel(fd);
  const isRenumbered = fd.identity.split(":")[2] === inode &&
    (identity.startsWith("0:") || (label !== undefined && isOurs(label)));
  if (!isRenumbered) requireSame(fd, identity, fd.path);
}

/**
 * Puts label, owner, mode and ACL of one file back.
 *
 * @returns What was done.
 * @throws `ImageError` `replaced` when `path` is another file now.
 */
export function restoreFile(
  path: string,
  identity: Identity,
  original: Reference["original"],
  host: Host,
): string[] {
  if (original.label === undefined && original.owner === undefined) return [];
  using fd = openToLook(host.folders, path);
  requireStill(fd, identity, host.selinux);
  return restore(fd, original, host);
}

function restore(
  fd: OwnedFd,
  { label, owner }: Reference["original"],
  { selinux }: Pick<Host, "selinux">,
): string[] {
  const { path } = fd;
  const did: string[] = [];
  if (label !== undefined) {
    selinux.writeLabel(fd, parseContext(label));
    did.push(`label of ${path} is ${label} again`);
  }
  if (owner !== undefined) {
    writeOwner(fd, owner);
    did.push(`owner of ${path} is ${ownerText(owner)} again`);
  }
  return did;
}
