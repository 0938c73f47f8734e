import { existsSync } from "node:fs";
import { checkLog, formatProblem } from "../audit/check.ts";
import { emptyState, fold, type State } from "../audit/state.ts";
import { AGENT_FILE, type HostSettings, readAgent } from "../config/agent_file.ts";
import { Folder } from "../image/folder.ts";
import { readStore } from "../policy/module/child.ts";
import { findElsewhere, findLeftImages, relabelImages } from "../policy/module/images.ts";
import { labelAsFolder, typeOf } from "../policy/module/file_label.ts";
import { findLeftLabels, restoreLabels, type WrongLabel } from "../policy/module/own_files.ts";
import {
  describeRemoval,
  findObstacles,
  type Present,
  removalOf,
  removesPolicy,
} from "../policy/module/remove_plan.ts";
import { type Declared, declaredBy, MODULES, readModules } from "../policy/module/source.ts";
import { processContexts } from "../process/contexts.ts";
import { RefusedError } from "../refused_error.ts";
import { type Arguments, EXIT } from "./command.ts";
import { LOG_NAME } from "./log_path.ts";
import { commit, isLoaded, type PolicyPlace, policyPlace } from "./policy_store.ts";
import type { Terminal } from "./terminal.ts";

/**
 * Removes the agent's policy modules, once no guest needs them and no image carries their labels.
 * Each step finds out what is left to do, so that one that was killed is finished by the next.
 */
export async function run(args: Arguments, terminal: Terminal): Promise<number> {
  const place = policyPlace(args, "policy remove");
  const settings = place.isLive ? settingsOf(args, terminal) : undefined;
  const folders = openFolders(settings, terminal);
  try {
    const present = await lookAround(place, settings, folders, terminal);
    const relabel = args.options["relabel"] === true;
    for (const line of describeRemoval(present)) terminal.out(line);
    requireNone(findObstacles(present, { relabel }));
    if (args.options["dry-run"] === true) return EXIT.asExpected;
    for (const line of relabelImages(present.images, folders)) terminal.err(line);
    const status = removesPolicy(present)
      ? await commit(place, removalOf(present), terminal)
      : EXIT.asExpected;
    restoreLabels(present.labels);
    // File contexts need not have a label for them: refpolicy has none for what is in /run.
    for (const { path } of findLabels(place, present.declared)) labelAsFolder(path);
    return status;
  } finally {
    for (const folder of folders) folder[Symbol.dispose]();
  }
}

async function lookAround(
  place: PolicyPlace,
  settings: HostSettings | undefined,
  folders: readonly Folder[],
  terminal: Terminal,
): Promise<Present> {
  const declared = declaredBy(readModules());
  const store = await readStore(place.store, MODULES);
  const log = settings === undefined ? undefined : readLog(settings, terminal);
  const processes = place.isLive ? processContexts() : [];
  const agents = processes.filter(({ context }) => context.includes(":svirt_agent_t:"));
  return {
    declared,
    store,
    isLoaded: isLoaded(declared, place),
    guests: log === undefined ? [] : guestsOf(log),
    agents: agents.map(({ pid }) => pid),
    images: findLeftImages(folders, log, (line) => terminal.err(line)),
    elsewhere: place.isLive ? findElsewhere(folders, log) : [],
    labels: findLabels(place, declared),
  };
}

function findLabels(place: PolicyPlace, declared: Declared): WrongLabel[] {
  return place.isLive ? findLeftLabels(declared.contexts, declared.types, typeOf) : [];
}

function settingsOf({ options }: Arguments, terminal: Terminal): HostSettings | undefined {
  const named = options["config"] as string | undefined;
  if (named !== undefined || existsSync(AGENT_FILE)) return readAgent(named);
  terminal.err(`There is no ${AGENT_FILE}: images are looked for nowhere`);
  return undefined;
}

/** Those that are there: one that is gone has no images, and must not keep the modules here. */
function openFolders(settings: HostSettings | undefined, terminal: Terminal): Folder[] {
  return (settings?.folders ?? []).flatMap((path) => {
    if (existsSync(path)) return [Folder.open(path)];
    terminal.err(`There is no folder ${path}: images are not looked for there`);
    return [];
  });
}

function readLog({ audit }: HostSettings, terminal: Terminal): State | undefined {
  const path = `${audit.folder}/${LOG_NAME}`;
  if (!existsSync(path)) return undefined;
  const state = emptyState();
  const checked = checkLog(path, (record) => fold(state, record));
  if (checked.ok) return state;
  terminal.err(formatProblem(path, checked));
  throw new RefusedError(
    `${path} is broken: nobody knows which guests have images`,
    "Move it away when no guest runs: images then get virt_image_t",
  );
}

function guestsOf({ grants, levels, intents }: State): string[] {
  const pending = [...intents.values()].map(({ guest }) => guest);
  return [...new Set([...grants.keys(), ...levels.keys(), ...pending])].sort();
}

function requireNone(obstacles: ReturnType<typeof findObstacles>): void {
  if (obstacles.length === 0) return;
  throw new RefusedError(
    obstacles.map(({ text }) => text).join("; "),
    obstacles.map(({ hint }) => hint).join("\n        "),
  );
}
