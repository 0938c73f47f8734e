import { constants } from "node:fs";
import { dirname } from "node:path";
import { SystemError } from "../../ffi/errno.ts";
import {
  AT_FDCWD,
  fdatasync,
  lstatx,
  openat2,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
  type Statx,
} from "../../ffi/libc.ts";
import { type Identity, identityOf, OwnedFd } from "../owned_fd.ts";
import { AuditError } from "./audit_error.ts";

const resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;

/**
 * Opens the file of a log, and creates it with mode 0600 where there is none.
 *
 * @param path Absolute. Its folder must exist.
 * @returns The caller owns it.
 * @throws {@linkcode SystemError} of openat2(2), with a hint.
 * @throws {@linkcode AuditError} `not-a-log` for anything but a regular file.
 */
export function openLogFile(path: string): OwnedFd {
  // O_NONBLOCK: opening a FIFO that someone put there must not hang the agent.
  const flags = constants.O_RDWR | constants.O_CREAT | constants.O_NONBLOCK;
  let fd: OwnedFd;
  try {
    fd = new OwnedFd(openat2(AT_FDCWD, path, { flags, mode: 0o600, resolve }), path);
  } catch (error) {
    if (error instanceof SystemError) throw error.withHint(hintFor(error.code, path));
    throw error;
  }
  try {
    const { mode, size } = fd.stat();
    if ((mode & constants.S_IFMT) !== constants.S_IFREG) {
      const hint = "Move it away, or name another folder in agent.toml, table [audit].";
      throw new AuditError("not-a-log", path, "is no regular file", hint);
    }
    if (size === 0n) syncFolder(dirname(path));
    return fd;
  } catch (error) {
    fd[Symbol.dispose]();
    throw error;
  }
}

/** fdatasync of the log does not put its name on the disk; that of its folder does. */
function syncFolder(path: string): void {
  const flags = constants.O_RDONLY | constants.O_DIRECTORY;
  using folder = new OwnedFd(openat2(AT_FDCWD, path, { flags, resolve }), path);
  fdatasync(folder.number);
}

/**
 * Does the path still name the open file? A log that was moved away or deleted takes records that
 * nobody will find, and the one in its place starts a second truth.
 *
 * @param identity Of the open file.
 * @returns What the path names, which is the open file.
 * @throws {@linkcode AuditError} `replaced`.
 */
export function requireInPlace(path: string, identity: Identity): Statx {
  try {
    const named = lstatx(AT_FDCWD, path);
    if (identityOf(named) === identity) return named;
  } catch (error) {
    if (!(error instanceof SystemError) || error.code !== "ENOENT") throw error;
  }
  const hint = "Put it back, or restart the agent: nothing is granted until then.";
  throw new AuditError("replaced", path, "was moved away or deleted while in use", hint);
}

function hintFor(code: string, path: string): string {
  switch (code) {
    case "ELOOP":
      return "The path of the audit log goes through a symbolic link. Name the real folder in " +
        "agent.toml, table [audit].";
    case "EISDIR":
      return "The audit log is a file. Move the folder away, or name another one in agent.toml, " +
        "table [audit].";
    case "ENOENT":
      return `Create its folder: install -d -m 700 ${dirname(path)}`;
    case "EROFS":
      return "The audit log needs a filesystem that can be written. Name another folder in " +
        "agent.toml, table [audit].";
    case "EACCES":
    case "EPERM":
      return `The agent may not write in ${dirname(path)}. Run it as root, or look for a denial: ` +
        "ausearch -m AVC -ts recent";
    case "ENOSPC":
    case "EDQUOT":
      return `Make space in ${dirname(path)}: nothing is granted until then.`;
    default:
      return "Without an audit log nothing is granted.";
  }
}
