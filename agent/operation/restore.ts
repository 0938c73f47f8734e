import { randomUUID } from "node:crypto";
import { constants } from "node:fs";
import type { Reference, State } from "../audit/state.ts";
import type { Host } from "../host.ts";
import { openBeneath } from "../image/folder.ts";
import { lockImage, unlockImage } from "../image/lock.ts";
import { ownerText } from "../image/owner.ts";
import type { Identity } from "../owned_fd.ts";
import { RefusedError } from "../refused_error.ts";
import { requireStill, restoreFile } from "./give_back.ts";
import { tellError } from "./tell_error.ts";

/** What a log, of this host or of another, knows about a file that was not given back. */
export interface Restorable {
  readonly identity: Identity;
  readonly reference: Reference;
}

/**
 * What the log says `path` was like before its guests had it; `undefined` when it was given back.
 *
 * @throws {@linkcode RefusedError} while a guest of this very host has the file.
 */
export function findRestorable(path: string, log: State, own: State): Restorable | undefined {
  const entry = [...log.references].find(([, reference]) => reference.path === path);
  if (entry === undefined) return undefined;
  const [identity, reference] = entry;
  const here = own.references.get(identity)?.users[0];
  if (here === undefined) return { identity, reference };
  throw new RefusedError(
    `guest ${here.guest} of this host has "${path}"`,
    `It comes back when the guest is gone: svirt-agent guest stop ${here.guest}, or ` +
      `svirt-agent guest recover ${here.guest}`,
  );
}

/** What would come back, for `--dry-run`. */
export function describeRestorable({ reference: { path, original } }: Restorable): string[] {
  return [
    ...original.label === undefined ? [] : [`label of ${path}: ${original.label}`],
    ...original.owner === undefined ? [] : [`owner of ${path}: ${ownerText(original.owner)}`],
  ];
}

/**
 * Gives a file its own label, owner, mode and ACL back after the host that changed them is gone.
 *
 * @returns What was done.
 * @throws `ImageError` `in-use` while a guest on any host holds its lock; `replaced` when it is not
 * the file that the log knows.
 */
export function restoreFromLog(
  { identity, reference: { path, original, users } }: Restorable,
  source: string,
  host: Host,
): string[] {
  requireUnused(path, identity, host);
  const operation = randomUUID();
  const guest = users[0]?.guest ?? "";
  const plan = { path, identity, from: source, original: { ...original } };
  const { log, agent } = host;
  log.append({
    event: "intent",
    operation: "restore",
    id: operation,
    guest,
    agent,
    undo: [],
    plan,
  });
  try {
    const did = restoreFile(path, identity, original, host);
    log.append({ event: "outcome", operation, guest, result: "done", evidence: did });
    return did;
  } catch (error) {
    const told = tellError(error as Error);
    log.append({ event: "outcome", operation, guest, result: "failed", error: told });
    throw error;
  }
}

/** A guest's lock lives as long as its QEMU, and on NFS every host sees it. */
function requireUnused(path: string, identity: Identity, { folders, selinux }: Host): void {
  using fd = openBeneath(folders, path, constants.O_RDWR);
  requireStill(fd, identity, selinux);
  lockImage(fd, "rw");
  unlockImage(fd);
}
