import { type Declared, type DeclaredBoolean, digestOf, type ModuleSource } from "./source.ts";
import { PRIORITY, type StoreChange, type StoreContents, type StoredModule } from "./store.ts";
import type { WrongLabel } from "./own_files.ts";

/** What is to be done about one module. */
export interface ModuleStep {
  readonly name: string;
  readonly action: "install" | "replace" | "enable" | "keep";
  /** Digests of what is there and of what will be. */
  readonly from?: string;
  readonly to: string;
  /** A copy at a higher priority that is another text, and counts whatever is installed. */
  readonly hiddenBy?: number;
}

/** What an installation finds. */
export interface Found {
  readonly sources: readonly ModuleSource[];
  readonly declared: Declared;
  readonly store: StoreContents;
  /** Does the kernel's policy have the modules' types? `undefined` where it is not to be loaded. */
  readonly isLoaded: boolean | undefined;
  readonly wasCutShort: boolean;
  readonly labels: readonly WrongLabel[];
}

/** What `policy install` will do; nothing, when {@linkcode isDone}. */
export interface InstallPlan {
  readonly modules: readonly ModuleStep[];
  /** Why the policy has to be built anew although no module differs. */
  readonly rebuild: string | undefined;
  /** Booleans that come with the modules. */
  readonly booleans: readonly DeclaredBoolean[];
  readonly labels: readonly WrongLabel[];
}

/** Decides what an installation has to do. */
export function planInstall(found: Found): InstallPlan {
  const { sources, declared, store, labels } = found;
  const modules = sources.map((source) => planModule(source, store.modules));
  const same = modules.every(({ action }) => action === "keep");
  return {
    modules,
    rebuild: same ? whyRebuild(found) : undefined,
    booleans: modules.every(({ action }) => action === "install") ? declared.booleans : [],
    labels,
  };
}

function planModule({ name, text }: ModuleSource, stored: readonly StoredModule[]): ModuleStep {
  const to = digestOf(text);
  const higher = stored.find((it) =>
    it.name === name && it.priority > PRIORITY && it.text !== text
  );
  const hidden = higher === undefined ? {} : { hiddenBy: higher.priority };
  const there = stored.find((it) => it.name === name && it.priority === PRIORITY);
  if (there === undefined) return { name, action: "install", to, ...hidden };
  const from = digestOf(there.text);
  const action = there.text !== text ? "replace" : there.enabled ? "keep" : "enable";
  return { name, action, from, to, ...hidden };
}

function whyRebuild({ isLoaded, wasCutShort }: Found): string | undefined {
  if (isLoaded === false) return "the kernel's policy lacks what the store has";
  if (wasCutShort) return "an earlier commit was cut short";
  return undefined;
}

/** Must the policy be built and loaded? */
export function changesPolicy({ modules, rebuild }: InstallPlan): boolean {
  return rebuild !== undefined || modules.some(({ action }) => action !== "keep");
}

/** Is there nothing to do? */
export function isDone(plan: InstallPlan): boolean {
  return !changesPolicy(plan) && plan.labels.length === 0;
}

/** The transaction of a plan. */
export function changeOf(plan: InstallPlan, sources: readonly ModuleSource[]): StoreChange {
  const chosen = (...actions: readonly ModuleStep["action"][]) =>
    plan.modules.filter(({ action }) => actions.includes(action)).map(({ name }) => name);
  const install = chosen("install", "replace");
  return {
    install: sources.filter(({ name }) => install.includes(name))
      .map(({ name, file }) => ({ name, file })),
    enable: chosen("enable"),
    remove: [],
  };
}

/** The plan as people read it. */
export function describeInstall(plan: InstallPlan): string[] {
  const { modules, rebuild, booleans, labels } = plan;
  if (isDone(plan)) {
    return [`nothing to do: ${modules.map(({ name, to }) => `${name} ${to}`).join(", ")}`];
  }
  return [
    ...modules.map(describeModule),
    ...rebuild === undefined ? [] : [`the policy is built anew: ${rebuild}`],
    ...booleans.map(({ name, value }) => `boolean ${name} comes, ${value ? "on" : "off"}`),
    ...labels.map(describeLabel),
  ];
}

function describeModule({ name, action, from, to }: ModuleStep): string {
  switch (action) {
    case "install":
      return `module ${name} ${to} is installed, priority ${PRIORITY}`;
    case "replace":
      return `module ${name} ${from} is replaced by ${to}`;
    case "enable":
      return `module ${name} ${to} is enabled: it is installed, and disabled`;
    case "keep":
      return `module ${name} ${to} stays`;
  }
}

/** A label that is to be put right. */
export function describeLabel({ path, is, wanted }: WrongLabel): string {
  return `label of ${path}: ${is} becomes ${wanted}`;
}
