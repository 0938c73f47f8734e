import { readdirSync } from "node:fs";
import { join } from "node:path";
import { type ContextOut, libselinux } from "../../../ffi/libselinux.ts";
import { SystemError } from "../../../ffi/errno.ts";
import type { State } from "../../audit/state.ts";
import { type Folder, openForLabel } from "../../image/folder.ts";
import { isOurs } from "../../label/assign.ts";
import { type Context, formatContext, parseContext } from "../../label/context.ts";
import type { OwnedFd } from "../../owned_fd.ts";
import { labelOf } from "./file_label.ts";

/** What an image gets of which nobody knows what it had. */
const PLAIN: Context = { user: "system_u", role: "object_r", type: "virt_image_t", level: "s0" };
/** How often somebody who waits is told that it goes on. */
const TELL_MS = 2000;

/** A file with a label of the modules, which no policy will know when they are gone. */
export interface LeftImage {
  readonly path: string;
  readonly is: string;
  /** Its own label, as the log has it; `virt_image_t` where the log knows nothing. */
  readonly wanted: string;
}

/**
 * Finds the images that carry a label of the modules: all that lie in the allowed folders.
 *
 * @param folders Lent.
 * @param log Of the agent; absent where there is none.
 */
export function findLeftImages(
  folders: readonly Folder[],
  log: State | undefined,
  say: (line: string) => void,
): LeftImage[] {
  let told = Date.now(), count = 0;
  const found: LeftImage[] = [];
  for (const path of folders.flatMap(({ path }) => [...filesBeneath(path)])) {
    count++;
    if (Date.now() - told > TELL_MS) {
      say(`looking for images with the modules' labels: ${count} files, at ${path}`);
      told = Date.now();
    }
    const label = labelOf(path);
    if (label === undefined || !isOurs(label)) continue;
    using fd = openForLabel(folders, path);
    found.push({ path, is: formatContext(label), wanted: originalOf(fd, log) });
  }
  return found;
}

/** Files of the log, outside the allowed folders, that carry a label of the modules. */
export function findElsewhere(folders: readonly Folder[], log: State | undefined): string[] {
  return [...log?.references.values() ?? []].map(({ path }) => path).filter((path) => {
    if (folders.some((folder) => path.startsWith(`${folder.path}/`))) return false;
    const label = labelOf(path);
    return label !== undefined && isOurs(label);
  });
}

/**
 * Gives images their own labels back. For guests that are gone only: their descriptors would be good
 * again.
 *
 * @param folders Lent.
 * @returns What was done.
 */
export function relabelImages(images: readonly LeftImage[], folders: readonly Folder[]): string[] {
  return images.map(({ path, wanted }) => {
    using fd = openForLabel(folders, path);
    const con: ContextOut = [null];
    if (libselinux().getfilecon_raw(pathOf(fd), con) < 0) {
      throw SystemError.last("getfilecon_raw", { path });
    }
    if (!isOurs(parseContext(con[0] ?? ""))) return `label of ${path} has been changed meanwhile`;
    if (libselinux().setfilecon_raw(pathOf(fd), wanted) !== 0) {
      throw SystemError.last("setfilecon_raw", {
        path,
        hint: "Nothing is removed yet. See: ausearch -m AVC -ts recent",
      });
    }
    return `label of ${path} is ${wanted} again`;
  });
}

function originalOf(fd: OwnedFd, log: State | undefined): string {
  const { path, identity } = fd;
  const reference = log?.references.get(identity) ??
    [...log?.references.values() ?? []].find((it) => it.path === path);
  const label = reference?.original.label;
  return label === undefined || isOurs(parseContext(label)) ? formatContext(PLAIN) : label;
}

/** The file itself, whatever its name leads to by now; an O_PATH descriptor takes no fsetfilecon(3). */
function pathOf(fd: OwnedFd): string {
  return `/proc/self/fd/${fd.number}`;
}

function* filesBeneath(folder: string): Generator<string> {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* filesBeneath(path);
    else if (entry.isFile() || entry.isBlockDevice()) yield path;
  }
}
