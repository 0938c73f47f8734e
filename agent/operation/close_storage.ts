import type { BooleanEvent } from "../audit/event.ts";
import type { Host } from "../host.ts";
import type { BooleanState } from "../label/boolean.ts";
import type { StorageClass } from "../label/mount.ts";

/**
 * Switches off what lets guests open images on the storage of this guest; recorded before it is
 * done. `run` does it when it was told to, by `--yes` or by agent.toml.
 *
 * @param before Told of each boolean that is on, before it is switched: to show what that changes.
 * @throws `SystemError` `EACCES` where the policy does not let the agent set booleans.
 */
export function closeStorage(
  storage: readonly StorageClass[],
  host: Host,
  before: (boolean: BooleanState) => void,
): void {
  for (const name of new Set(storage.flatMap(({ boolean }) => boolean ?? []))) {
    const state = host.booleans.read(name);
    if (state?.active !== true) continue;
    before(state);
    record(host, { name, from: true, to: false, reason: "run" });
    try {
      host.booleans.write(name, false);
    } catch (error) {
      const reason = `could not be switched: ${(error as Error).message}`;
      record(host, { name, from: false, to: true, reason });
      throw error;
    }
  }
}

function record(
  { log, agent }: Host,
  what: Pick<BooleanEvent, "name" | "from" | "to" | "reason">,
): void {
  log.append({ event: "boolean", ...what, persist: false, by: `svirt-agent pid ${agent.pid}` });
}
