/**
 * Labels of files by their names, a symbolic link's own: of the agent's own files, in folders where
 * nobody but root makes any.
 *
 * @module
 */

import { posix } from "node:path";
import { SystemError } from "../../../ffi/errno.ts";
import { type ContextOut, libselinux } from "../../../ffi/libselinux.ts";
import { type Context, formatContext, parseContext } from "../../label/context.ts";

/** The label of a file; `undefined` where there is none, or nothing that has one. */
export function labelOf(path: string): Context | undefined {
  const con: ContextOut = [null];
  if (libselinux().lgetfilecon_raw(path, con) >= 0) return parseContext(con[0] ?? "");
  const error = SystemError.last("lgetfilecon_raw", { path });
  if (["ENOENT", "ENOTDIR", "ENODATA", "EOPNOTSUPP"].includes(error.code)) return undefined;
  throw error;
}

/** The type of a file, as {@linkcode labelOf}. */
export function typeOf(path: string): string | undefined {
  return labelOf(path)?.type;
}

/** Gives a file the type that a new one would have in its folder. */
export function labelAsFolder(path: string): void {
  const folder = labelOf(posix.dirname(path));
  if (folder === undefined) return;
  const label = formatContext({ ...folder, user: "system_u", role: "object_r" });
  if (libselinux().lsetfilecon_raw(path, label) === 0) return;
  throw SystemError.last("lsetfilecon_raw", { path });
}
