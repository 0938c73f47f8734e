import type { HostSettings } from "../config/agent_file.ts";
import { type Cgroup, cgroupOf } from "./cgroup.ts";

/** Where a guest lives while it runs. */
export interface Place {
  readonly cgroup: Cgroup;
  /** Folder of the guest's sockets, the agent's alone. */
  readonly folder: string;
  /** QEMU's monitor. */
  readonly monitor: string;
  /** What QEMU writes to stdout and stderr. */
  readonly console: string;
  /** Where the agent that guards the guest takes requests. */
  readonly control: string;
}

/** Number of the first image that QEMU inherits: after standard input, output and error. */
export const FIRST_INHERITED = 3;

/** What QEMU itself needs of it. */
export type QemuPlace = Pick<Place, "cgroup" | "folder" | "monitor" | "console">;

/** The place of a guest, by its name alone: a later agent finds it again. */
export function placeOf(
  guest: string,
  { runtimeFolder }: Pick<HostSettings, "runtimeFolder">,
): Place {
  const folder = `${runtimeFolder}/guests/${guest}`;
  return {
    cgroup: cgroupOf(guest),
    folder,
    monitor: `${folder}/monitor`,
    console: `${folder}/console`,
    control: `${folder}/control`,
  };
}

/**
 * The place of a guest's canary, which is never in the guest's own cgroup. No guest is called so: a
 * name has no colon.
 */
export function canaryPlaceOf(
  guest: string,
  settings: Pick<HostSettings, "runtimeFolder">,
): QemuPlace {
  const { folder } = placeOf(guest, settings);
  return {
    cgroup: cgroupOf(`${guest}:canary`),
    folder,
    monitor: `${folder}/canary`,
    console: `${folder}/canary-console`,
  };
}
