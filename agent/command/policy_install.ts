import { RefusedError } from "../refused_error.ts";
import { readStore, wasCutShort } from "../policy/module/child.ts";
import { typeOf } from "../policy/module/file_label.ts";
import { findWrongLabels, restoreLabels } from "../policy/module/own_files.ts";
import {
  changeOf,
  changesPolicy,
  describeInstall,
  type InstallPlan,
  isDone,
  planInstall,
} from "../policy/module/plan.ts";
import { declaredBy, MODULES, readModules } from "../policy/module/source.ts";
import { type Arguments, EXIT } from "./command.ts";
import { commit, isLoaded, policyPlace } from "./policy_store.ts";
import type { Terminal } from "./terminal.ts";

/** Installs the agent's policy modules, all in one transaction, and labels its own files. */
export async function run(args: Arguments, terminal: Terminal): Promise<number> {
  const sources = readModules(args.operands[0]);
  const declared = declaredBy(sources);
  const place = policyPlace(args, "policy install");
  const store = await readStore(place.store, MODULES);
  const look = () => place.isLive ? findWrongLabels(declared.contexts, store.contexts, typeOf) : [];
  const plan = planInstall({
    sources,
    declared,
    store,
    isLoaded: isLoaded(declared, place),
    wasCutShort: wasCutShort(place.store),
    labels: look(),
  });
  for (const line of describeInstall(plan)) terminal.out(line);
  requireEffect(plan);
  if (args.options["dry-run"] === true || isDone(plan)) return EXIT.asExpected;
  const status = changesPolicy(plan)
    ? await commit(place, changeOf(plan, sources), terminal)
    : EXIT.asExpected;
  restoreLabels(look());
  if (!place.isLive) {
    terminal.err("Files are not labelled here: that is for setfiles(8), or restorecon once booted");
  }
  terminal.err("svirt-agent's policy is installed");
  return status;
}

/** A copy of a module at a higher priority is the one that counts. */
function requireEffect({ modules }: InstallPlan): void {
  const hidden = modules.find(({ hiddenBy }) => hiddenBy !== undefined);
  if (hidden === undefined) return;
  throw new RefusedError(
    `another ${hidden.name} at priority ${hidden.hiddenBy} counts more than the one to be installed`,
    `Remove it: semodule -X ${hidden.hiddenBy} -r ${hidden.name}`,
  );
}
