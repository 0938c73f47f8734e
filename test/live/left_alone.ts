import assert from "node:assert/strict";
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { emptyState } from "../../agent/audit/state.ts";
import { processContexts } from "../../agent/process/contexts.ts";
import { must, svirtAgent } from "./command.ts";
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

/** Writes a guest file; answers its path. */
export async function guestFile(name: string, text: string): Promise<string> {
  const path = `/etc/svirt-agent/guests.d/${name}.toml`;
  writeFileSync(path, text);
  await must("restorecon", path);
  return path;
}

/** Runs a guest that must not start: what it says matches, and `guest` is left alone. */
export async function refusesToRun(
  guest: GuestFile,
  args: readonly string[],
  status: number,
  ...patterns: readonly RegExp[]
): Promise<void> {
  const before = await leftAlone(guest);
  const result = await svirtAgent("run", ...args);
  assert.equal(result.status, status, result.stderr);
  for (const pattern of patterns) assert.match(result.stderr, pattern);
  // What a configuration file should say stands in the message itself.
  assert.match(result.stderr, /hint: |\.toml: .*\(.+\)$/m);
  assert.deepEqual(await leftAlone(guest), before, "nothing is changed");
}

/** An agent.toml of another name; answers the options that have it read. */
export async function configured(name: string, text: string): Promise<readonly string[]> {
  const path = `/etc/svirt-agent/${name}.toml`;
  writeFileSync(path, text);
  await must("restorecon", path);
  return ["--config", path];
}
