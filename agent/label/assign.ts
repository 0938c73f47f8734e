import type { Layer } from "../image/layer.ts";
import type { Context } from "./context.ts";

/** An image that its guest may write through a passed descriptor. policies/svirt_agent/svirt_fd.cil */
const WRITABLE = "svirt_fd_image_t";
/** An image that nobody may write, through whatever descriptor. */
const READ_ONLY = "svirt_fd_ro_t";

/** Classes of what an image can be, as policies name them. */
export type FileClass = "file" | "blk_file";

/** The class by which the policy is asked about a layer. */
export function classOf({ privateNode }: Pick<Layer, "privateNode">): FileClass {
  return privateNode === undefined ? "file" : "blk_file";
}

/** Is it a label that the agent gives, and nobody else? */
export function isOurs({ type }: Context): boolean {
  return type === WRITABLE || type === READ_ONLY;
}

/**
 * The label of a file while a guest has it.
 *
 * A shared base has no categories: holding a descriptor of it is the right to read it. Everything
 * else carries the guest's own.
 */
export function labelFor(
  { access, shared }: Pick<Layer, "access" | "shared">,
  level: string,
): Context {
  return {
    user: "system_u",
    role: "object_r",
    type: access === "rw" ? WRITABLE : READ_ONLY,
    level: shared ? "s0" : level,
  };
}
