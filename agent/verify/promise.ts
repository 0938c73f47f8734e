/**
 * The promises that a policy can break, in the words that a reader of a message gets.
 *
 * @module
 */

import type { Layer } from "../image/layer.ts";
import { classOf } from "../label/assign.ts";
import { type Context, formatContext } from "../label/context.ts";
import type { Expected } from "./expected.ts";
import type { Decision } from "./verdict.ts";

/** What the agent promises about a guest and an image. */
export const PROMISES = {
  inherited: "promise 1, inherited, never opened",
  others: "promise 2, nobody else's",
  frozen: "promise 3, frozen means frozen",
  recorded: "promise 5, no record, no grant",
} as const;

/** Which promise it would break if a guest could do this to one of its own files. */
export function promiseOf(permission: string, { shared }: Pick<Layer, "shared">): string {
  const changes = ["write", "append", "relabelfrom", "relabelto"].includes(permission);
  if (!changes) return PROMISES.inherited;
  // Whoever writes a base that guests share writes into the others' disks.
  return shared ? PROMISES.others : PROMISES.frozen;
}

/** Something that is not as it has to be, and what to do about it. */
export interface Difference {
  readonly text: string;
  readonly hint: string;
}

/** The guest's own file: the policy allows what it must not, or lacks what it has to allow. */
export function ownDifference(
  permission: string,
  { answer, by }: Decision,
  expected: Expected[keyof Expected],
  guest: Context,
  label: Context,
  layer: Pick<Layer, "path" | "shared" | "privateNode">,
): Difference {
  const promise = expected === "allowed"
    ? "the guest cannot use what it was handed"
    : promiseOf(permission, layer);
  const rule = `-s ${guest.type} -t ${label.type} -c ${classOf(layer)} -p ${permission}`;
  return {
    text: `"${layer.path}": ${permission} is ${answer} (${by}), expected ${expected}: ${promise}`,
    hint: expected === "allowed"
      ? "Install the agent's module again: svirt-agent policy install"
      : by === "server" || by === "other"
      ? "The storage does not keep the guest from it: stop the guest, and look at who may write there"
      : `Find the rule, and take out the module or the boolean it stands in: sesearch -A ${rule}`,
  };
}

/** A file of the guest and another guest, which could use it. */
export function otherDifference(
  permissions: readonly string[],
  other: Context,
  label: Context,
  layer: Pick<Layer, "path" | "privateNode">,
): Difference {
  const fileClass = classOf(layer);
  return {
    text:
      `"${layer.path}": another guest (${formatContext(other)}) could ${
        permissions.join(", ")
      } it: ` +
      PROMISES.others,
    hint: permissions.includes("open")
      ? "Find the rule, and take out the module or the boolean it stands in: " +
        `sesearch -A -s ${other.type} -t ${label.type} -c ${fileClass} -p open`
      : `Categories do not keep ${other.type} off. Is it in mcs_constrained_type? ` +
        `seinfo -a mcs_constrained_type -x; which constraint is there? seinfo --constrain ${fileClass} -x`,
  };
}

/** A domain to which nothing is denied, whatever the rules say. */
export function permissiveDifference(type: string, own: string): Difference {
  const promises = type === own ? `${PROMISES.inherited}, and ${PROMISES.others}` : PROMISES.others;
  return {
    text: `${type} is permissive: nothing is denied to it, on no image: ${promises}`,
    hint: `Make it enforcing again: semanage permissive -d ${type}, or take out the module that ` +
      `says (typepermissive ${type}): semodule --list=full`,
  };
}
