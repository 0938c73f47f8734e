import type { Host } from "../host.ts";
import type { StorageClass } from "../label/mount.ts";

/**
 * Switches off what lets guests open images on the storage of this guest; recorded before it is
 * done. `run` does it when it was told to, by `--yes` or by agent.toml.
 *
 * @returns The booleans that were on.
 * @throws `SystemError` `EACCES` where the policy does not let the agent set booleans.
 */
export function closeStorage(storage: readonly StorageClass[], host: Host): string[] {
  const names = new Set(storage.flatMap(({ boolean }) => boolean ?? []));
  const on = [...names].filter((name) => host.booleans.read(name)?.active === true);
  for (const name of on) {
    host.log.append({
      event: "boolean",
      name,
      from: true,
      to: false,
      persist: false,
      by: `svirt-agent pid ${host.agent.pid}`,
      reason: "run",
    });
    host.booleans.write(name, false);
  }
  return on;
}
