import type { Host } from "../host.ts";
import type { FileClass } from "../label/assign.ts";
import type { Context } from "../label/context.ts";
import type { Access } from "../owned_fd.ts";

/**
 * What the policy would have to allow for a guest to receive a descriptor: the kernel drops one in
 * silence, so that whoever passed it can only ask afterwards.
 *
 * @returns `svirt_t nfs_t:file { read write }`, one an object; empty when the policy allows all of
 * it, and something else dropped the descriptor.
 */
export function missingToReceive(
  guest: Context,
  label: Context,
  access: Access,
  { selinux, policy }: Pick<Host, "selinux" | "policy">,
  fileClass: FileClass = "file",
): string[] {
  const wanted: [Context, string, string[]][] = [
    // Checked against whoever opened the file, which is the agent.
    [selinux.ownContext(), "fd", ["use"]],
    [label, fileClass, access === "rw" ? ["read", "write"] : ["read"]],
  ];
  return wanted.flatMap(([target, targetClass, permissions]) => {
    const { decide } = policy.access(guest, target, targetClass);
    const denied = permissions.filter((permission) => decide(permission).answer !== "allowed");
    if (denied.length === 0) return [];
    return [`${guest.type} ${target.type}:${targetClass} { ${denied.join(" ")} }`];
  });
}
