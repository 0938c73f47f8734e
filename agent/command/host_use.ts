import { readFileSync } from "node:fs";
import type { HostUse, ProcessUse } from "../label/boolean_plan.ts";
import { parseContext } from "../label/context.ts";
import { GUEST_TYPES } from "../label/guest_types.ts";
import { parseMountinfo } from "../label/mount.ts";
import { kernel } from "../label/selinux.ts";
import type { State } from "../audit/state.ts";
import { livePolicy } from "../policy/live.ts";
import { cgroupOf, membersOf } from "../process/cgroup.ts";
import { processContexts } from "../process/contexts.ts";
import { descriptorsOf } from "../process/descriptor.ts";

/** Domains besides guests that virt_use_nfs and its like give access to. */
const GOVERNED = ["virtd_t", "virtqemud_t", "virtstoraged_t"];

/**
 * What runs on this host and uses storage that a boolean governs; read from /proc.
 *
 * @param state Of the log, which tells what guests were passed from what they opened themselves;
 * absent on a host without an agent.
 */
export function hostUse(state: State | undefined): HostUse {
  const passed = passedBy(state);
  const mounts = parseMountinfo(readFileSync("/proc/self/mountinfo", "utf8"));
  const isGuest = (domain: string) => GUEST_TYPES.includes(domain);
  const isGoverned = (domain: string) => GOVERNED.includes(domain);
  const processes = processContexts().flatMap(({ pid, context: text }): ProcessUse[] => {
    const context = tryParse(text);
    if (context === undefined || !(isGuest(context.type) || isGoverned(context.type))) return [];
    const open = descriptorsOf(pid).flatMap(({ path, identity, mountId, access }) => {
      const mount = mounts.get(mountId);
      return mount === undefined ? [] : [{ path, identity, mode: access, mount }];
    });
    return [{ pid, context, command: commandOf(pid), open }];
  });
  const inherited = livePolicy.access(
    { ...kernel.ownContext(), type: "svirt_t", level: "s0" },
    { user: "system_u", role: "object_r", type: "nfs_t", level: "s0" },
    "file",
  ).decide("read").answer;
  return {
    processes,
    mounts: [...mounts.values()],
    isGuest,
    isGoverned,
    wasPassed: (pid, identity) => passed.has(`${pid} ${identity}`),
    inheritedUse: inherited,
  };
}

/** What the agent passed to the guests that run now, as `PID IDENTITY`. */
function passedBy(state: State | undefined): Set<string> {
  const grants = [...state?.grants ?? []];
  return new Set(
    grants.flatMap(([guest, granted]) =>
      membersOf(cgroupOf(guest)).flatMap((pid) =>
        granted.map(({ identity }) => `${pid} ${identity}`)
      )
    ),
  );
}

function tryParse(text: string): ReturnType<typeof parseContext> | undefined {
  try {
    return parseContext(text);
  } catch {
    return undefined;
  }
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, "utf8").trim();
  } catch {
    return "?";
  }
}
