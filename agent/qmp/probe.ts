import { constants } from "node:fs";
import { AT_FDCWD, openat2 } from "../../ffi/libc.ts";
import { OwnedFd } from "../owned_fd.ts";
import { addFd, DroppedError, isInFdset, type PassedFd, removeFd } from "./fdset.ts";
import type { Monitor } from "./monitor.ts";
import { type FdsetBehaviour, fdsetBehaviour } from "./version.ts";

/** Images have the sets from 1 on. */
const SET = 0;

/** What a QEMU does with fdsets, and what asking left behind. */
export interface Probed {
  readonly fdsets: FdsetBehaviour;
  /** Stays in QEMU until the guest runs, and has to be removed once more then. */
  readonly left: readonly PassedFd[];
}

/**
 * Finds out how this QEMU treats fdsets: by its version, and by trying with /dev/null what can be
 * tried, because a distribution may have taken over a change.
 *
 * @param monitor Of a QEMU whose guest does not run yet.
 */
export async function probeFdsets(monitor: Monitor): Promise<Probed> {
  const byVersion = fdsetBehaviour(monitor.version);
  const how = { flags: constants.O_RDONLY, resolve: 0n };
  using nothing = new OwnedFd(openat2(AT_FDCWD, "/dev/null", how), "/dev/null");
  try {
    const passed = await addFd(monitor, SET, nothing, "svirt-agent probe");
    await removeFd(monitor, passed);
    const stays = await isInFdset(monitor, passed);
    const fdsets = { ...byVersion, removesWhilePaused: !stays };
    return { fdsets, left: stays ? [passed] : [] };
  } catch (error) {
    // A policy that lets guests use no /dev/null of the agent's: the version has to do.
    if (error instanceof DroppedError) return { fdsets: byVersion, left: [] };
    throw error;
  }
}
