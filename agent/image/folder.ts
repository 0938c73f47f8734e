/**
 * Opening images: only beneath the folders that agent.toml allows, through no symbolic link, and
 * nothing but regular files and block devices.
 *
 * Everything here is synchronous, so that a caller can change the thread's user around it: NFS
 * checks the credential of whoever opened the file.
 *
 * @module
 */

import { posix } from "node:path";
import { constants } from "node:fs";
import { SystemError } from "../../ffi/errno.ts";
import {
  AT_FDCWD,
  O_PATH,
  openat2,
  RESOLVE_BENEATH,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
  type Statx,
} from "../../ffi/libc.ts";
import { type Identity, isBlockDevice, OwnedFd } from "../owned_fd.ts";
import { openByLink } from "./device_link.ts";
import { ImageError, shellWord } from "./image_error.ts";

const { O_DIRECTORY, O_NOCTTY, O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = constants;
const { S_IFCHR, S_IFDIR, S_IFIFO, S_IFMT, S_IFREG, S_IFSOCK } = constants;

const BENEATH = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;

const KINDS: ReadonlyMap<number, string> = new Map([
  [S_IFCHR, "a character device"],
  [S_IFDIR, "a folder"],
  [S_IFIFO, "a FIFO"],
  [S_IFSOCK, "a socket"],
]);

/** A folder of agent.toml, opened once; images are opened relative to its descriptor. */
export class Folder implements Disposable {
  /** As agent.toml spells it, without a trailing slash. */
  readonly path: string;
  readonly fd: OwnedFd;

  /** Takes ownership of `fd`. */
  private constructor(path: string, fd: OwnedFd) {
    this.path = path;
    this.fd = fd;
  }

  /**
   * Opens the folder; symbolic links on the way are followed, now and never again.
   *
   * @throws {@linkcode ImageError} `folder-unsafe` when somebody other than root could put another
   * file in an image's place; {@linkcode SystemError} of openat2(2).
   */
  static open(path: string): Folder {
    const clean = cleanPath(path);
    const how = { flags: O_RDONLY | O_DIRECTORY, resolve: RESOLVE_NO_MAGICLINKS };
    const fd = new OwnedFd(openFolder(clean, () => openat2(AT_FDCWD, clean, how)), clean);
    try {
      requireSafe(clean, fd.stat());
      return new Folder(clean, fd);
    } catch (error) {
      fd[Symbol.dispose]();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    this.fd[Symbol.dispose]();
  }
}

/** Says where a folder that cannot be opened comes from. */
function openFolder(path: string, open: () => number): number {
  try {
    return open();
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    throw error.withHint(
      `agent.toml names it under "folders": make it, or take it out of there. ` +
        `See: ls -ldZ ${shellWord(path)}`,
    );
  }
}

/**
 * A sticky bit does not make a folder safe: images belong to QEMU's user, who could then rename
 * one guest's image over another's.
 */
export function requireSafe(path: string, { uid, mode }: Pick<Statx, "uid" | "mode">): void {
  const why = uid !== 0
    ? `belongs to uid ${uid}`
    : (mode & 0o022) !== 0
    ? `is writable by others (mode 0${(mode & 0o7777).toString(8)})`
    : undefined;
  if (why === undefined) return;
  throw new ImageError("folder-unsafe", path, why, {
    hint: `Make it root's alone: chown root: ${shellWord(path)} && chmod go-w ${shellWord(path)}`,
  });
}

/**
 * Opens an image beneath the folder it lies in.
 *
 * @param folders Lent.
 * @param path Absolute, without `..`.
 * @param flags O_* of open(2); `O_NONBLOCK` is added because opening a FIFO that someone put there
 * must not hang the agent, `O_NOCTTY` because a terminal must not become its own.
 * @param mode Permissions, with `O_CREAT`.
 * @returns A regular file with one name, or a block device; the caller owns it. In /dev a symbolic
 * link to one is followed: see {@link ./device_link.ts}.
 * @throws {@linkcode ImageError} `outside-folders`, `not-an-image`, `hard-linked`;
 * {@linkcode SystemError} `ELOOP` where a symbolic link is on the way.
 */
export function openBeneath(
  folders: readonly Folder[],
  path: string,
  flags: number,
  mode = 0,
): OwnedFd {
  const fd = openRest(folders, path, flags | O_NONBLOCK | O_NOCTTY, mode);
  try {
    requireImage(fd);
    return fd;
  } catch (error) {
    fd[Symbol.dispose]();
    throw error;
  }
}

/**
 * Opens the folder that holds `path`, as openat2(2) and unlinkat(2) want it.
 *
 * @returns A descriptor that the caller owns.
 */
export function openParent(folders: readonly Folder[], path: string): OwnedFd {
  return openRest(folders, posix.dirname(cleanPath(path)), O_RDONLY | O_DIRECTORY, 0);
}

/**
 * Opens a file only for its label to be read and set, which who may not read the file may do.
 *
 * @returns A descriptor of whatever has that name, also of a symbolic link; the caller owns it.
 */
export function openForLabel(folders: readonly Folder[], path: string): OwnedFd {
  const { folder, rest } = locate(folders, path);
  const how = { flags: O_PATH | O_NOFOLLOW, resolve: BENEATH };
  return new OwnedFd(openat2(folder.fd.number, rest, how), path);
}

function openRest(folders: readonly Folder[], path: string, flags: number, mode: number): OwnedFd {
  const { folder, rest } = locate(folders, path);
  try {
    return new OwnedFd(openat2(folder.fd.number, rest, { flags, mode, resolve: BENEATH }), path);
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    if (error.code === "EISDIR") throw notAnImage(path, "a folder");
    const linked = error.code === "ELOOP" ? openByLink(folder.fd, rest, flags) : undefined;
    if (linked !== undefined) return linked;
    const hint = OPEN_HINTS[error.code]?.(path);
    throw new SystemError(error.operation, error.errno, { path, hint });
  }
}

const OPEN_HINTS: Readonly<Record<string, (path: string) => string>> = {
  ELOOP: (path) =>
    `It, or a folder above it, is a symbolic link; give the real path: realpath ${shellWord(path)}`,
  EXDEV: (path) => `The path leaves its folder; give the real path: realpath ${shellWord(path)}`,
  ENOENT: (path) => `Is it spelt as it is there? ls -lZ ${shellWord(posix.dirname(path))}`,
  EACCES: (path) =>
    (path.startsWith("/dev/")
      ? "The policy lets the agent use block devices only when told so: setsebool -P " +
        `svirt_agent_use_devices on. Else: ls -lZ ${shellWord(path)}; `
      : `The agent may not. Is it an image, labelled as one? ls -lZ ${shellWord(path)}; `) +
    "a denial by SELinux: ausearch -m AVC -ts recent",
  ENXIO: () => "It is a socket, a FIFO or a device without hardware. Give an image.",
  ENOSYS: () => "The agent needs openat2(2): Linux 5.6 or newer.",
};

/** The allowed folder that `path` lies in, the longest if several do, and the rest of the path. */
export function locate(
  folders: readonly Folder[],
  path: string,
): { readonly folder: Folder; readonly rest: string } {
  const clean = cleanPath(path);
  const holds = (folder: Folder) => clean === folder.path || clean.startsWith(prefix(folder.path));
  const folder = folders.filter(holds).sort((a, b) => b.path.length - a.path.length)[0];
  if (folder !== undefined) return { folder, rest: clean.slice(prefix(folder.path).length) || "." };
  const list = folders.map(({ path }) => path).join(", ") || "none";
  throw new ImageError("outside-folders", path, "lies in no allowed folder", {
    hint: `Name its folder under "folders" in agent.toml (now: ${list}).`,
  });
}

function prefix(folder: string): string {
  return folder === "/" ? "/" : `${folder}/`;
}

/** Without doubled slashes and `.`; `..` is refused because what it means depends on links. */
function cleanPath(path: string): string {
  if (path.startsWith("/") && !path.split("/").includes("..")) {
    return posix.normalize(path).replace(/(?<=.)\/$/, "");
  }
  throw new ImageError("outside-folders", path, 'is not an absolute path without ".."', {
    hint: "Give the real path of the file; realpath prints it.",
  });
}

/**
 * @param fd Lent.
 * @throws {@linkcode ImageError} `not-an-image` unless it is a regular file or a block device;
 * `hard-linked` when a second name, outside the allowed folders perhaps, leads to the file;
 * `replaced` when no name does any longer.
 */
export function requireImage(fd: OwnedFd): void {
  const stat = fd.stat();
  if (isBlockDevice(stat)) return;
  const { mode, nlink } = stat;
  const type = mode & S_IFMT;
  if (type !== S_IFREG) throw notAnImage(fd.path, KINDS.get(type) ?? "no file");
  if (nlink === 0) throw new ImageError("replaced", fd.path, "was deleted while it was opened");
  if (nlink === 1) return;
  throw new ImageError("hard-linked", fd.path, `has ${nlink} names (hard links)`, {
    hint: `Remove the others: find MOUNTPOINT -xdev -samefile ${fd.path}`,
  });
}

function notAnImage(path: string, what: string): ImageError {
  return new ImageError("not-an-image", path, `is ${what}`, {
    hint: "An image is a regular file or a block device.",
  });
}

/**
 * For the second of two opens: is it still the file that was checked at the first?
 *
 * @param fd Lent.
 * @throws {@linkcode ImageError} `replaced`.
 */
export function requireSame(fd: OwnedFd, identity: Identity, path: string): void {
  const now = fd.identity;
  if (now === identity) return;
  throw new ImageError("replaced", path, `was replaced: ${identity} is now ${now}`, {
    hint: "Somebody renames files in this folder. Find out who before you start the guest.",
  });
}
