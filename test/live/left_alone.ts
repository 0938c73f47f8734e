import { existsSync, readdirSync } from "node:fs";
import { emptyState } from "../../agent/audit/state.ts";
import { processContexts } from "../../agent/process/contexts.ts";
import { must } from "./command.ts";
import { type GuestFile, LOG, logState } from "./world.ts";

/** Everything that a guest which does not start must leave alone; compared before and after. */
export async function leftAlone({ root, data, base }: GuestFile): Promise<Record<string, unknown>> {
  const cgroups = "/sys/fs/cgroup/svirt-agent";
  const { levels, grants, intents, references } = existsSync(LOG) ? logState() : emptyState();
  return {
    files: await must("stat", "-c", "%n %u:%g %a %C", root, data, base),
    cgroups: existsSync(cgroups)
      ? readdirSync(cgroups, { withFileTypes: true }).filter((it) => it.isDirectory())
        .map(({ name }) => name)
      : [],
    processes: processContexts().filter(({ context }) => /:svirt_(?!agent)/.test(context)),
    log: [levels, grants, intents, references].map((it) => [...it.keys()]),
  };
}
