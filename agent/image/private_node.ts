/**
 * Private device nodes. A block device reaches a guest through a node that the agent makes for this
 * guest alone: SELinux goes by the node that a descriptor was opened through, so that relabelling it
 * takes write access away at once, and nothing of the host's own node changes.
 *
 * They lie in /dev, because devtmpfs keeps labels and takes device nodes on every host; /run is
 * mounted nodev where systemd does it, and after a boot none of either is left.
 *
 * @module
 */

import { constants, mkdirSync, rmdirSync } from "node:fs";
import { posix } from "node:path";
import { SystemError } from "../../ffi/errno.ts";
import { AT_FDCWD, lstatx, openat2, RESOLVE_NO_SYMLINKS, unlinkat } from "../../ffi/libc.ts";
import { mknodat } from "../../ffi/libc_device.ts";
import { fchown } from "../../ffi/libc_owner.ts";
import type { Credential } from "../../ffi/libc_process.ts";
import type { Context } from "../label/context.ts";
import type { Selinux } from "../label/selinux.ts";
import { type Identity, identityOf, OwnedFd } from "../owned_fd.ts";
import { requireSafe, requireSame } from "./folder.ts";
import { shellWord } from "./image_error.ts";
import type { Layer } from "./layer.ts";

const NODES = "/dev/svirt-agent";

/** Root lists them; a guest that knows its node's name gets as far as the node's own label. */
const FOLDER_MODE = 0o711;

/** Where a guest's node for one of its layers is, by names alone: a later agent finds it again. */
export function privateNodeOf(guest: string, { node }: Pick<Layer, "node">): string {
  return `${NODES}/${guest}/${node}`;
}

/** A layer on a block device. */
export type DeviceLayer = Layer & { readonly privateNode: string };

/** Does the layer lie on a block device? */
export function isDevice(layer: Layer): layer is DeviceLayer {
  return layer.privateNode !== undefined;
}

/**
 * Makes a layer's node, with the label that it is to have from its first instant, for QEMU's user.
 *
 * @throws `SystemError` with what to do about it: `EPERM` without CAP_MKNOD, `EACCES` where the policy
 * does not let the agent, `EEXIST` for a node that no agent has removed; `ImageError` `replaced` when
 * it is another device than `identity`.
 */
export function makePrivateNode(
  { privateNode: path }: DeviceLayer,
  identity: Identity,
  label: Context,
  { uid, gid }: Credential,
  selinux: Pick<Selinux, "creatingAs">,
): void {
  const [, major, minor] = identity.split(":").map(Number) as [number, number, number];
  try {
    using folder = openFolders(posix.dirname(path));
    const name = posix.basename(path);
    selinux.creatingAs(label, () => mknodat(folder.number, name, 0o600, major, minor));
    using fd = openPrivateNode(path, constants.O_RDONLY);
    requireSame(fd, identity, path);
    fchown(fd.number, uid, gid, path);
  } catch (error) {
    const { code, errno } = error as { code?: string; errno?: number };
    const hint = HINTS[code ?? ""]?.(path);
    if (hint === undefined || errno === undefined) throw error;
    const { operation } = error instanceof SystemError ? error : { operation: "mkdir" };
    throw new SystemError(operation, Math.abs(errno), { path, hint });
  }
}

const HINTS: Readonly<Record<string, (path: string) => string>> = {
  EPERM: () =>
    "Device nodes are made with CAP_MKNOD, and in a /dev that takes them: a container has neither. " +
    "Run the agent on the host itself.",
  EACCES: () =>
    "The policy lets the agent use block devices only when told so: " +
    "setsebool -P svirt_agent_use_devices on",
  EEXIST: (path) =>
    "It was left there, and the log knows no guest that has it. A node of the guest's own device is " +
    "removed by now; if it is still there, look and remove it: " +
    `ls -lZ ${shellWord(path)}; rm ${shellWord(path)}. Then start the guest again.`,
  ENOSPC: () => "/dev is full: df -h /dev; df -i /dev",
};

function openFolders(guest: string): OwnedFd {
  for (const path of [NODES, guest]) {
    try {
      mkdirSync(path, { mode: FOLDER_MODE });
    } catch (error) {
      if ((error as { code?: string }).code !== "EEXIST") throw error;
    }
  }
  const flags = constants.O_RDONLY | constants.O_DIRECTORY;
  const fd = new OwnedFd(openat2(AT_FDCWD, guest, { flags, resolve: RESOLVE_NO_SYMLINKS }), guest);
  try {
    requireSafe(guest, fd.stat());
    return fd;
  } catch (error) {
    fd[Symbol.dispose]();
    throw error;
  }
}

/**
 * Opens a device through a private node; the caller owns the descriptor.
 *
 * @param flags O_* of open(2).
 */
export function openPrivateNode(path: string, flags: number): OwnedFd {
  const how = { flags: flags | constants.O_NONBLOCK, resolve: RESOLVE_NO_SYMLINKS };
  return new OwnedFd(openat2(AT_FDCWD, path, how), path);
}

/**
 * Removes a guest's node, and its folder with the last of them; what is not there is no error: an
 * attach may have got as far as the folder alone.
 *
 * @returns What was done.
 */
export function removePrivateNode(path: string, identity: Identity): string[] {
  const parent = posix.dirname(path);
  const did = orMissing(() => unlinkNode(parent, path, identity)) ?? [];
  try {
    orMissing(() => rmdirSync(parent));
  } catch (error) {
    if ((error as { code?: string }).code !== "ENOTEMPTY") throw error;
  }
  return did;
}

function unlinkNode(parent: string, path: string, identity: Identity): string[] {
  const flags = constants.O_RDONLY | constants.O_DIRECTORY;
  const how = { flags, resolve: RESOLVE_NO_SYMLINKS };
  using folder = new OwnedFd(openat2(AT_FDCWD, parent, how), parent);
  const name = posix.basename(path);
  if (identityOf(lstatx(folder.number, name)) !== identity) {
    return [`${path} is another device now: left alone`];
  }
  unlinkat(folder.number, name);
  return [`removed ${path}`];
}

function orMissing<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if ((error as { code?: string }).code === "ENOENT") return undefined;
    throw error;
  }
}
