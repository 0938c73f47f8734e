import { randomInt, randomUUID } from "node:crypto";
import { existsSync, statSync } from "node:fs";
import type { Credential } from "../../ffi/libc_process.ts";
import type { AuditEvent, GrantEvent, Operation, Undo } from "../audit/event.ts";
import type { State } from "../audit/state.ts";
import type { Guest } from "../guest.ts";
import type { Host } from "../host.ts";
import { requireSame } from "../image/folder.ts";
import { type Inspected, labelText } from "../image/inspect.ts";
import { needsOwner } from "../image/open.ts";
import { type Owner, readOwner } from "../image/owner.ts";
import { isDevice } from "../image/private_node.ts";
import { openToLook } from "../image/squash.ts";
import { isOurs, labelFor } from "../label/assign.ts";
import { formatContext } from "../label/context.ts";
import { levelsInUse } from "../label/in_use.ts";
import { chooseLevel } from "../label/level.ts";
import type { Access, Identity } from "../owned_fd.ts";
import { startTimeOf } from "../process/contexts.ts";
import type { Cgroup } from "../process/cgroup.ts";
import { opaqueText } from "../qmp/pass.ts";
import { decide, type ImageUser } from "./decide.ts";
import { RefusedError } from "../refused_error.ts";

/** What a guest was granted: it is on the disk, and nothing has been done yet. */
export interface Granted {
  /** Names the operation in the log. */
  readonly operation: string;
  /** Reserved for this guest on this host until it is detached. */
  readonly level: string;
}

/**
 * Decides whether a guest may have its images, reserves two categories for it, and records both with
 * all it takes to undo them. One step that no other agent on this host can come between.
 *
 * @throws {@linkcode RefusedError} naming the image and who has it; `CategoriesExhausted`;
 * `SystemError` when the record cannot be written: then nothing is granted.
 */
export function grantImages(
  guest: Guest,
  found: readonly Inspected[],
  credential: Credential,
  cgroup: Cgroup,
  host: Host,
): Granted {
  const used = levelsInUse(host.folders);
  return host.log.transact((state) => {
    requireFree(guest.name, state);
    requireAll(guest.name, found, state);
    requireTop(found, state);
    const now = found.map((image) => lookAgain(image, host));
    const { categories } = host.settings;
    const level = chooseLevel([...used, ...state.levels.values()], categories, randomInt);
    const operation = randomUUID();
    const undo: Undo[] = [
      { kind: "level", level },
      { kind: "cgroup", path: cgroup.path },
      ...now.flatMap((image) => undoOf(image, credential, state)),
    ];
    const intent: AuditEvent = {
      event: "intent",
      operation: "attach",
      id: operation,
      guest: guest.name,
      agent: host.agent,
      undo,
      plan: { file: guest.file, level, images: found.map(({ layer }) => layer.path) },
    };
    const grants = found.flatMap((image) =>
      grantsOf(guest.name, operation, level, image, "attach")
    );
    return { events: [intent, ...grants], result: { operation, level } };
  });
}

/** A guest is attached once: its reserved level and what an agent left unfinished tell. */
function requireFree(guest: string, state: State): void {
  for (const intent of state.intents.values()) {
    if (intent.guest !== guest) continue;
    const alive = startTimeOf(intent.agent.pid) === intent.agent.startTime;
    throw new RefusedError(
      `${intent.operation} of guest ${guest} is not finished`,
      alive
        ? `Process ${intent.agent.pid} is at it. Wait for it.`
        : `Its agent is gone. Bring it to an end: svirt-agent guest recover ${guest}`,
    );
  }
  if (!state.levels.has(guest)) return;
  throw new RefusedError(
    `guest ${guest} is attached already, at level ${state.levels.get(guest)}`,
    `If its agent died: svirt-agent guest recover ${guest}`,
  );
}

function requireAll(guest: string, found: readonly Inspected[], state: State): void {
  const granted = new Map<Identity, ImageUser[]>();
  const references = (identity: Identity) => [
    ...state.references.get(identity)?.users ?? [],
    ...granted.get(identity) ?? [],
  ];
  for (const { layer: { image, path, access, shared }, identity } of found) {
    const request = { guest, image: image.name, path, identity, access, shared, reason: "attach" };
    const decision = decide(request, { references });
    if (!decision.granted) throw new RefusedError(decision.text, decision.hint);
    granted.set(identity, [...granted.get(identity) ?? [], decision.user]);
  }
}

/** A guest file from before a snapshot names the frozen image as the one to write. */
function requireTop(found: readonly Inspected[], { overlays }: State): void {
  for (const { layer } of found) {
    const { path, access, image } = layer;
    if (access === "ro") continue;
    const names = isDevice(layer) ? [path, ...namesOf(path, overlays.keys())] : [path];
    const overlay = names.map((name) => overlays.get(name)).find((it) => it && existsSync(it));
    if (overlay === undefined) continue;
    throw new RefusedError(
      `image "${image.name}": "${path}" was frozen by a snapshot, and "${overlay}" stands on it`,
      `Writing it would ruin the overlay. Put the new chain into the guest file: path = ` +
        `"${overlay}", format = "qcow2", and "${path}" first in backing. To go back to the ` +
        `frozen state instead, delete the overlay.`,
    );
  }
}

/** Those of the names that lead to the block device at `path` now, as links of /dev do. */
function namesOf(path: string, names: Iterable<string>): string[] {
  const device = deviceAt(path);
  return [...names].filter((name) => device !== undefined && deviceAt(name) === device);
}

function deviceAt(path: string): number | undefined {
  try {
    const stat = statSync(path);
    return stat.isBlockDevice() ? stat.rdev : undefined;
  } catch {
    // A frozen image that is gone, or in a folder that the agent may not search any more.
    return undefined;
  }
}

/**
 * Label and owner under the log's lock: another guest that had the file when it was inspected may
 * have given it back since.
 */
function lookAgain(image: Inspected, { folders, selinux }: Host): Inspected {
  using fd = openToLook(folders, image.layer.path);
  requireSame(fd, image.identity, image.layer.path);
  return { ...image, ...readOwner(fd), label: selinux.readLabel(fd) };
}

/** What puts this file back as it was, before the first of our guests had it. */
function undoOf(image: Inspected, credential: Credential, state: State): Undo[] {
  const { layer, identity, uid, gid, mode, acl, storage } = image;
  const { path } = layer;
  const original = state.references.get(identity)?.original;
  if (original?.label === undefined && image.label !== undefined && isOurs(image.label)) {
    throw new RefusedError(
      `"${path}" has the label ${labelText(image)}, and the log does not know which it had before`,
      `Give it its own label first: restorecon -F ${path}`,
    );
  }
  if (isDevice(layer)) return [{ kind: "node", path: layer.privateNode, identity }];
  const label = original?.label ?? labelText(image);
  const owner: Owner = { uid, gid, mode, ...(acl && { acl }) };
  return [
    ...storage.keepsLabels && label !== null
      ? [{ kind: "label", path, identity, label } as const]
      : [],
    ...needsOwner(image, credential)
      ? [{ kind: "owner", path, identity, ...original?.owner ?? owner } as const]
      : [],
  ];
}

/** One record for each descriptor that will be passed. */
export function grantsOf(
  guest: string,
  operation: string,
  level: string,
  image: Inspected,
  reason: Operation,
): GrantEvent[] {
  const { layer, identity, storage } = image;
  const modes: Access[] = layer.access === "rw" ? ["ro", "rw"] : ["ro"];
  return modes.map((mode) => ({
    event: "grant",
    operation,
    guest,
    image: layer.image.name,
    path: layer.path,
    identity,
    label: storage.keepsLabels ? formatContext(labelFor(layer, level)) : labelText(image),
    mode,
    fdset: layer.fdset,
    fd: opaqueText(mode, layer),
    reason,
    shared: layer.shared,
    deadline: null,
  }));
}
