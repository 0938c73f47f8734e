import { RefusedError } from "../refused_error.ts";
import type { Booleans } from "./boolean.ts";
import type { StorageClass } from "./mount.ts";
import type { Selinux } from "./selinux.ts";
import { HintedError } from "../hinted_error.ts";

const MODULE = {
  user: "system_u",
  role: "object_r",
  type: "svirt_fd_image_t",
  level: "s0",
} as const;

/** SELinux cannot be asked, or does not deny anything here: nothing could be promised. */
export class NoSelinuxError extends HintedError {
  override readonly name = "NoSelinuxError";
}

/**
 * @throws {@linkcode NoSelinuxError} unless the kernel enforces a policy that has our module: without
 * it a guest that was handed a descriptor could open everything else.
 */
export function requireEnforcing(selinux: Selinux): void {
  const mode = selinux.mode();
  if (mode === "disabled") {
    throw new NoSelinuxError(
      "SELinux is disabled on this host",
      "Boot with security=selinux and a policy; see selinux(8). To see the agent work here: npm start",
    );
  }
  if (mode === "permissive") {
    throw new NoSelinuxError(
      "SELinux is permissive: it denies nothing",
      "Find out why it is, then: setenforce 1",
    );
  }
  if (!selinux.knows(MODULE)) {
    throw new NoSelinuxError(
      "The policy does not know svirt_fd_image_t: the module svirt_agent is not installed",
      "Install it: svirt-agent policy install",
    );
  }
  const { type } = selinux.ownContext();
  if (type === "svirt_agent_t") return;
  throw new NoSelinuxError(
    `The agent runs as ${type}, not in its own domain svirt_agent_t`,
    "Start it by a file with the label svirt_agent_exec_t; see policies/README.md",
  );
}

/** Guests get inherited use of NFS by this one where the policy grants them nothing (refpolicy). */
export const INHERITED_NFS = "virt_read_write_nfs";

/**
 * Storage without labels is closed to guests by a boolean alone.
 *
 * @throws {@linkcode RefusedError} while it is on: every guest could open every image there.
 */
export function requireClosed(storage: readonly StorageClass[], booleans: Booleans): void {
  for (const { openDeniedBy, boolean, fsType } of storage) {
    if (openDeniedBy !== "boolean" || boolean === undefined) continue;
    if (booleans.read(boolean)?.active) {
      throw new RefusedError(
        `${boolean} is on: every guest can open every image on ${fsType}`,
        `See what needs it: svirt-agent boolean plan ${boolean} off; ` +
          `then: svirt-agent boolean set ${boolean} off`,
      );
    }
    if (boolean === "virt_use_nfs" && booleans.read(INHERITED_NFS)?.active === false) {
      throw new RefusedError(
        `${INHERITED_NFS} is off: this policy drops every descriptor of ${fsType} on its way`,
        `Let guests use what they are handed: svirt-agent boolean set ${INHERITED_NFS} on`,
      );
    }
  }
}
