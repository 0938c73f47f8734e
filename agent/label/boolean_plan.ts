/**
 * What turning a storage boolean on or off does to this host, worked out before it is done: who
 * loses access, which descriptors stay usable after, and whether it lasts.
 *
 * @module
 */

import type { Access, Identity } from "../owned_fd.ts";
import type { BooleanState } from "./boolean.ts";
import type { Context } from "./context.ts";
import { booleanOf, type Mount } from "./mount.ts";

/** A process as /proc shows it. */
export interface ProcessUse {
  readonly pid: number;
  readonly context: Context;
  /** Its name, comm. */
  readonly command: string;
  readonly open: readonly OpenFile[];
}

/** A file that a process has open. */
export interface OpenFile {
  readonly path: string;
  readonly identity: Identity;
  readonly mode: Access;
  readonly mount: Mount;
}

/** What the planner is told about the host. */
export interface HostUse {
  readonly processes: readonly ProcessUse[];
  readonly mounts: readonly Mount[];
  /** Is it the domain of a guest? */
  readonly isGuest: (domain: string) => boolean;
  /** Other domains that the policy gives access by this boolean, virtd_t for one. */
  readonly isGoverned: (domain: string) => boolean;
  /** Did the agent pass this file to this process? What it did not pass, the guest opened. */
  readonly wasPassed: (pid: number, identity: Identity) => boolean;
  /**
   * Does the policy let guests read and write inherited descriptors while the boolean is off?
   * It does on Fedora, and on Debian with our module; `unknown` when nobody could be asked.
   */
  readonly inheritedUse: "allowed" | "denied" | "unknown";
}

/** One file of one process, in a plan. */
export interface FileUse {
  readonly pid: number;
  readonly command: string;
  readonly context: Context;
  readonly path: string;
  readonly identity: Identity;
  readonly mode: Access;
}

/** The answer of `svirt-agent boolean plan`. */
export interface BooleanPlan {
  readonly name: string;
  readonly from: boolean;
  readonly to: boolean;
  /** Mounts that keep no labels, where this boolean alone decides whether guests may open. */
  readonly mounts: readonly Mount[];
  /** Files there that lose the access they have: reads and writes fail at once. */
  readonly lost: readonly FileUse[];
  /** Files there whose descriptors work on, but which cannot be opened again. */
  readonly cannotReopen: readonly FileUse[];
  /** Descriptors that guests opened themselves and that work on after it is off. */
  readonly staysUsable: readonly FileUse[];
  /** What a reader has to know besides, as full sentences. */
  readonly warnings: readonly string[];
}

/** Works out what a change does; changes nothing and asks nobody. */
export function planBoolean(state: BooleanState, to: boolean, host: HostUse): BooleanPlan {
  const { name, active } = state;
  const governs = ({ fsType, options }: Mount) =>
    booleanOf(fsType) === name && !options.includes("seclabel") &&
    !options.some((option) => option.startsWith("context="));
  const mounts = host.mounts.filter(governs);
  const turnsOff = active && !to;
  const uses = (domains: (domain: string) => boolean): FileUse[] =>
    host.processes.filter(({ context }) => turnsOff && domains(context.type)).flatMap((process) =>
      process.open.filter(({ mount }) => governs(mount)).map(({ mount: _, ...file }) => {
        const { pid, command, context } = process;
        return { pid, command, context, ...file };
      })
    );
  const guests = uses(host.isGuest);
  const others = uses((domain) => host.isGoverned(domain) && !host.isGuest(domain));
  const keep = host.inheritedUse !== "denied";
  return {
    name,
    from: active,
    to,
    mounts,
    lost: [...(keep ? [] : guests), ...others],
    cannotReopen: keep ? guests : [],
    staysUsable: keep ? guests.filter((use) => !host.wasPassed(use.pid, use.identity)) : [],
    warnings: warningsFor(state, to, mounts, host),
  };
}

function warningsFor(
  { name, active, pending, persistent }: BooleanState,
  to: boolean,
  mounts: readonly Mount[],
  { inheritedUse }: HostUse,
): string[] {
  const warnings: string[] = [];
  const word = to ? "on" : "off";
  if (pending !== active && pending !== to) {
    warnings.push(`Somebody is about to turn ${name} ${pending ? "on" : "off"}: it is pending.`);
  }
  if (persistent === !to) {
    warnings.push(
      `It is ${to ? "off" : "on"} again after the next boot; --persist keeps it ${word}.`,
    );
  }
  if (persistent === null) {
    warnings.push(`What it is after the next boot could not be read: setsebool -P ${name} ${word}`);
  }
  if (to && !active && mounts.length > 0) {
    warnings.push("Guests may then open every file there, whatever its categories.");
  }
  if (active && !to && inheritedUse === "unknown") {
    warnings.push("Whether guests can still use descriptors they hold could not be found out.");
  }
  return warnings;
}

/** The plan as lines for a terminal; the last is the command that does it. */
export function describeBooleanPlan(plan: BooleanPlan): string[] {
  const { name, from, to, mounts, warnings } = plan;
  const word = (value: boolean) => value ? "on" : "off";
  const lines = [
    from === to ? `${name} is ${word(from)}` : `${name}: ${word(from)} -> ${word(to)}`,
  ];
  const list = (title: string, items: readonly string[]) => {
    if (items.length > 0) lines.push(`${title}:`, ...items.map((item) => `  ${item}`));
  };
  list(
    "It decides for",
    mounts.map(({ mountPoint, fsType, source }) =>
      `${shown(mountPoint)}  ${fsType}  ${shown(source)}`
    ),
  );
  if (mounts.length === 0) lines.push("No mounted filesystem depends on it.");
  list("Lose access at once", plan.lost.map(useLine));
  list("Keep what they have open, and cannot open it again", plan.cannotReopen.map(useLine));
  list("Opened by a guest itself, usable until it ends", plan.staysUsable.map(useLine));
  lines.push(...warnings);
  if (from !== to) lines.push(`Do it: svirt-agent boolean set ${name} ${word(to)}`);
  return lines;
}

function useLine({ pid, command, context, path, mode }: FileUse): string {
  return `${pid} ${shown(command)}  ${context.type}:${context.level ?? ""}  ${mode}  ${
    shown(path)
  }`;
}

/** A process chooses its name, and whoever creates a file its path: neither may paint the terminal. */
function shown(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, "?");
}
