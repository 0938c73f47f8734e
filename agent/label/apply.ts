import type { Credential } from "../../ffi/libc_process.ts";
import type { Inspected } from "../image/inspect.ts";
import { isDevice, makePrivateNode } from "../image/private_node.ts";
import type { OwnedFd } from "../owned_fd.ts";
import { labelFor } from "./assign.ts";
import { type Context, formatContext } from "./context.ts";
import type { Selinux } from "./selinux.ts";

/** Makes the private node of a layer on a block device, labelled for its guest; nothing for a file. */
export function makeNode(
  { layer, identity }: Pick<Inspected, "layer" | "identity">,
  level: string,
  credential: Credential,
  selinux: Selinux,
): void {
  if (!isDevice(layer)) return;
  makePrivateNode(layer, identity, labelFor(layer, level), credential, selinux);
}

/**
 * Labels a file for its guest, or leaves it where the filesystem keeps no labels, and reads back
 * what the kernel now goes by.
 */
export function labelImage(
  { layer, storage, ro }: Pick<Inspected, "layer" | "storage"> & { readonly ro: OwnedFd },
  level: string,
  selinux: Selinux,
): Context {
  if (!storage.keepsLabels) return requireLabel(selinux.readLabel(ro), layer.path);
  const wanted = labelFor(layer, level);
  const is = selinux.readLabel(ro);
  // A shared base has its label already when a second guest comes.
  if (is === undefined || formatContext(is) !== formatContext(wanted)) {
    selinux.writeLabel(ro, wanted);
  }
  const now = requireLabel(selinux.readLabel(ro), layer.path);
  if (formatContext(now) === formatContext(wanted)) return now;
  throw new Error(
    `"${layer.path}" has label ${formatContext(now)} after it was set to ${formatContext(wanted)}`,
  );
}

function requireLabel(label: Context | undefined, path: string): Context {
  if (label !== undefined) return label;
  throw new Error(`"${path}" has no label at all: is SELinux disabled?`);
}
