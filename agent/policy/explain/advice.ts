import { STORAGE_BOOLEANS } from "../../label/mount.ts";
import { PROMISES } from "../../verify/promise.ts";
import { type Group, hasOtherCategories, typeOf } from "./group.ts";
import { FD_TYPES, type Prediction } from "./predicted.ts";
import type { Refusal } from "./said_no.ts";

/**
 * What a denial means for who reads it.
 *
 * - `working`: it is the product working
 * - `harmless`: nobody misses what was denied
 * - `past`: the policy that is asked allows it
 * - `not-denied`: it went through
 * - `look`: somebody has to decide something
 */
export type Meaning = "working" | "harmless" | "past" | "not-denied" | "look";

/** The third line. */
export interface Advice {
  readonly meaning: Meaning;
  readonly text: string;
}

/** What advice rests on. */
export interface Case {
  readonly group: Group;
  readonly refusal: Refusal;
  readonly prediction: Prediction | undefined;
  /** Ids of assertions that say that it is never allowed. */
  readonly asserted: readonly string[];
  readonly isGuest: (type: string) => boolean;
  /** What the agent's log says of the file. */
  readonly granted: string | undefined;
  /** What a boolean, as `name=on`, would open to a type besides. */
  readonly opens: (boolean: string, type: string) => readonly string[];
}

/** Our own boolean: inherited use of files without labels, and no open. */
const INHERITED_BOOLEAN = "virt_read_write_nfs";
/** How many things that a boolean opens are named. */
const MOST_NAMED = 4;

/** What to do; never "add a rule" where a rule would break a promise. */
export function advise(it: Case): Advice {
  const { group, refusal, prediction } = it;
  if (group.permissive) return permissive(it);
  if (prediction !== undefined) return predicted(it, prediction);
  if (refusal.by === "allowed") {
    return {
      meaning: "past",
      text:
        "nothing, unless it comes again: then the kernel's policy is not the one that was asked",
    };
  }
  return { meaning: "look", text: look(it) };
}

function permissive({ group, prediction }: Case): Advice {
  const type = typeOf(group.source);
  const promise = prediction?.promise;
  const breaks = promise === undefined ? "" : `: it would have been denied by ${promise}`;
  const text = `make it enforcing, nothing keeps it from anything until then${breaks}: ` +
    `semanage permissive -d ${type}, or setenforce 1`;
  return { meaning: "not-denied", text };
}

function predicted(
  { group, refusal, granted, asserted, isGuest }: Case,
  { id, by: from, kind, because, promise }: Prediction,
): Advice {
  const by = `[${[id, ...asserted.filter((it) => it !== id)].join(", ")}]`;
  if (kind === "harmless") return { meaning: "harmless", text: `nothing: ${because} ${by}` };
  if (refusal.by === "allowed") {
    const text =
      `find out who changed the policy or a boolean: it allows by now what ${promise} forbids; ` +
      `${because} ${by}. Ask it: svirt-agent policy test`;
    return { meaning: "look", text };
  }
  const off = refusal.booleans.length === 0
    ? ""
    : `; leave ${refusal.booleans.map((it) => it.split("=")[0]).join(" and ")} off`;
  const grant = granted === undefined ? "" : `; ${granted}`;
  // Known from an assertion alone: it may be an image that nobody has labelled for its guest.
  const label = from === "assertion" && isGuest(typeOf(group.source)) && isFile(group)
    ? "; if it is the guest's own, it lacks its label: svirt-agent or libvirt gives it at the start"
    : "";
  const text =
    `nothing, this denial is the product working (${promise}): ${because}${off}${grant}` +
    `${label} ${by}`;
  return { meaning: "working", text };
}

function isFile({ tclass }: Group): boolean {
  return tclass === "file" || tclass === "blk_file";
}

/** Nobody predicted it. */
function look(it: Case): string {
  const { group, refusal, isGuest } = it;
  const [source, target] = [typeOf(group.source), typeOf(group.target)];
  if (group.trawcon !== undefined || target === "unlabeled_t") return unlabeled(group);
  if (refusal.by === "boolean") return switching(it);
  if (refusal.by === "constraint") return constrained(group, isGuest(source));
  if (source === "svirt_agent_t") {
    return "install the agent's modules again, of this version: svirt-agent policy " +
      "install; if it stays denied, its domain lacks a rule: report it";
  }
  if (!isGuest(source)) return otherDomain(group);
  if (FD_TYPES.includes(target)) {
    return "the guest cannot use what it was handed: install the agent's modules again, " +
      "svirt-agent policy install";
  }
  if (group.tclass === "fd") {
    return `pass descriptors that the agent opened: a guest uses none of ${target}'s`;
  }
  if (!/file$|^dir$/.test(group.tclass)) {
    return `find out what made QEMU do it, a device or an option; a rule for ${source} would hold ` +
      "for every guest";
  }
  if (group.tclass === "dir") {
    return "make the file beforehand, as svirt-agent and libvirt do: a guest makes, finds and removes " +
      `no names. No rule for ${target}: it would be every guest's (${PROMISES.others})`;
  }
  return "if the guest is to use this file, label it: an image gets its label when svirt-agent or " +
    `libvirt starts the guest; if not, it was kept from it rightly. No rule for ${target}: it would ` +
    `let every guest at every such file (${PROMISES.others})`;
}

function unlabeled({ trawcon }: Group): string {
  return trawcon === undefined
    ? "give it a label: restorecon -v FILE; where it was svirt-agent's, install the modules first"
    : `install the module that has the type of ${trawcon}, or give the file another label: ` +
      "restorecon -v FILE";
}

function switching({ group, refusal, opens }: Case): string {
  const names = refusal.booleans;
  const ours = names.find((it) => it === `${INHERITED_BOOLEAN}=on`);
  if (ours !== undefined) {
    return `svirt-agent boolean set ${INHERITED_BOOLEAN} on: guests then use what they are handed ` +
      `there, and open nothing. Not ${STORAGE_BOOLEANS[0]}: it breaks ${PROMISES.inherited}`;
  }
  const forbidden = names.find((it) => STORAGE_BOOLEANS.some((name) => it === `${name}=on`));
  if (forbidden !== undefined) {
    return `pass a descriptor instead. ${forbidden} would let every guest open every file there: it ` +
      `breaks ${PROMISES.inherited}`;
  }
  const source = typeOf(group.source);
  const boolean = names[0]!;
  const besides = opens(boolean, source);
  const shown = besides.slice(0, MOST_NAMED).join(", ") +
    (besides.length > MOST_NAMED ? ` and ${besides.length - MOST_NAMED} more` : "");
  return `setsebool -P ${
    boolean.replace("=", " ")
  }, if every ${source} is to have all that it opens: ` +
    `${shown}`;
}

function constrained(group: Group, isGuest: boolean): string {
  if (isGuest && hasOtherCategories(group)) {
    return `find out why it has these categories; no rule helps against a constraint, and without ` +
      `it guests get at each other (${PROMISES.others})`;
  }
  return `give ${typeOf(group.source)} the range that it needs where it is started ` +
    "(s0-s0:c0.c1023 for what works for all guests): no rule helps against a constraint";
}

function otherDomain({ source, target, tclass, denied }: Group): string {
  const [from, to] = [typeOf(source), typeOf(target)];
  return `no guest did this. Is ${to} the right label (matchpathcon -V FILE)? If ${from} has to do it, ` +
    `its own module lacks (allow ${from} ${to} (${tclass} (${denied.join(" ")})))`;
}
