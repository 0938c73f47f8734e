import { SystemError } from "../../../ffi/errno.ts";
import { type ContextOut, libselinux } from "../../../ffi/libselinux.ts";
import { processContexts } from "../../process/contexts.ts";
import { type Descriptor, descriptorsOf } from "../../process/descriptor.ts";
import { problemOf } from "./list_file.ts";
import type { ImageParty, Parties } from "./party.ts";

/**
 * What runs on this host: processes in domains of guests, and the regular files and block devices
 * that these have open. One guest may have several processes; a context is one guest here.
 *
 * @param domains Types that guests run in.
 * @throws `EACCES` without root, from node:fs.
 */
export function partiesOnHost(domains: readonly string[]): Parties {
  const guests = new Map<string, string[]>();
  const images = new Map<string, ImageParty>();
  for (const { pid, context } of processContexts()) {
    if (problemOf(context) !== undefined || !domains.includes(context.split(":", 3)[2]!)) continue;
    guests.set(context, [...guests.get(context) ?? [], `pid ${pid}`]);
    for (const descriptor of descriptorsOf(pid)) {
      if (!descriptor.isRegular) continue;
      const image = imageOf(pid, descriptor);
      if (image !== undefined) images.set(`${image.context} ${image.name}`, image);
    }
  }
  return {
    guests: [...guests].map(([context, pids]) => ({ context, name: pids.join(", ") })),
    images: [...images.values()],
  };
}

/** Through the descriptor: the name may lead elsewhere by now, and in another mount namespace. */
function imageOf(pid: number, { number, path, isBlock }: Descriptor): ImageParty | undefined {
  const con: ContextOut = [null];
  const link = `/proc/${pid}/fd/${number}`;
  if (libselinux().getfilecon_raw(link, con) < 0) {
    const error = SystemError.last("getfilecon_raw", { path: link });
    // It was closed meanwhile, or its filesystem has no labels: nfs_t and the like have one.
    if (["ENOENT", "ESRCH", "ENODATA", "EOPNOTSUPP"].includes(error.code)) return undefined;
    throw error;
  }
  if (problemOf(con[0]!) !== undefined) return undefined;
  return { context: con[0]!, name: path, tclass: isBlock ? "blk_file" : "file" };
}
