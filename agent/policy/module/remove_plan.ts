import type { LeftImage } from "./images.ts";
import { describeLabel } from "./plan.ts";
import type { WrongLabel } from "./own_files.ts";
import type { Declared } from "./source.ts";
import type { StoreChange, StoreContents } from "./store.ts";

/** What a removal finds. */
export interface Present {
  readonly declared: Declared;
  readonly store: StoreContents;
  /** Does the kernel's policy have the modules' types? `undefined` where it is not to be loaded. */
  readonly isLoaded: boolean | undefined;
  /** Guests that have images, or whose operation has not ended. */
  readonly guests: readonly string[];
  /** Pids of agents that run. */
  readonly agents: readonly number[];
  readonly images: readonly LeftImage[];
  /** Images outside the allowed folders. */
  readonly elsewhere: readonly string[];
  /** The agent's own files. */
  readonly labels: readonly WrongLabel[];
}

/** Why the modules cannot be removed as things are. */
export interface Obstacle {
  readonly text: string;
  readonly hint: string;
}

/** @param relabel Are images given their own labels back? */
export function findObstacles(present: Present, { relabel }: { relabel: boolean }): Obstacle[] {
  const { declared, store, guests, agents, images, elsewhere } = present;
  return [
    ...guests.map((guest) => ({
      text: `guest ${guest} has images`,
      hint: `svirt-agent guest stop ${guest}; when its agent is gone: svirt-agent guest recover ` +
        `${guest} --stop`,
    })),
    ...guests.length > 0 ? [] : agents.map((pid) => ({
      text: `process ${pid} runs in svirt_agent_t`,
      hint: `See what it is, and end it: ps -fZ ${pid}`,
    })),
    ...store.contexts.filter(({ type }) => declared.types.includes(type)).map((
      { expression, type },
    ) => ({
      text: `a rule of semanage fcontext gives ${expression} the type ${type}`,
      hint: `semanage fcontext -d '${expression}'`,
    })),
    ...elsewhere.map((path) => ({
      text: `${path} has a label of the modules, and lies in none of agent.toml's folders`,
      hint: `chcon -t virt_image_t ${path}`,
    })),
    ...relabel || images.length === 0 ? [] : [{
      text: `${count(images.length, "image")} with a label of the modules`,
      hint: "To give them their own labels back first: svirt-agent policy remove --relabel",
    }],
  ];
}

/** The transaction of a removal. */
export function removalOf({ store }: Present): StoreChange {
  const remove = store.modules.map(({ name, priority }) => ({ name, priority }));
  return { install: [], enable: [], remove };
}

/** Must the policy be built and loaded? Also where a commit that was cut short did not load it. */
export function removesPolicy({ store, isLoaded }: Present): boolean {
  return store.modules.length > 0 || isLoaded === true;
}

/** What is to be done, as people read it. */
export function describeRemoval(present: Present): string[] {
  const { declared, store, images, labels, isLoaded } = present;
  const lines = [
    ...images.map(describeLabel),
    ...store.modules.map(({ name, priority }) => `module ${name} is removed, priority ${priority}`),
    ...store.modules.length > 0
      ? declared.booleans.map(({ name }) => `boolean ${name} goes`)
      : isLoaded === true
      ? ["the policy is built anew: the kernel's still has what the store has not"]
      : [],
    ...labels.map(describeLabel),
  ];
  return lines.length > 0 ? lines : ["nothing to do: none of the modules is installed"];
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? "" : "s"}`;
}
