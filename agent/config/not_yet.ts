import { type Key, oneOf, optional, unsupported } from "./schema.ts";

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
