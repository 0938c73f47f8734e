import { type Key, oneOf, optional, unsupported } from "./schema.ts";

/** `fence`, in agent.toml and in guest files. */
export const fence: Key<"off"> = wordNotYet(
  "off",
  "owner",
  "Leave it out: on NFS without labels write access is then revoked with the grade cooperative.",
);

/** `labels`, in guest files. */
export const labels: Key<"descriptor"> = wordNotYet(
  "descriptor",
  "svirt",
  'Leave it out, or say "descriptor": the types of the svirt_agent policy module.',
);

/** `monitor`, in the table `[qemu]` of a guest file. */
export const monitor: Key<undefined> = unsupported(
  "attaching to a QEMU that runs already is not supported yet",
  'Let the agent start it: say "binary" and "args" instead.',
);

function wordNotYet<const W extends string>(word: W, later: string, hint: string): Key<W> {
  return optional((value, place) => {
    if (value === later) throw place.error(`${JSON.stringify(value)} is not supported yet`, hint);
    return oneOf(word)(value, place);
  }, word);
}
