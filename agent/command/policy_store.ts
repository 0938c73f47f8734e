import { RefusedError } from "../refused_error.ts";
import { kernel } from "../label/selinux.ts";
import { changeStore, findStore, PolicyStoreError } from "../policy/module/child.ts";
import type { Declared } from "../policy/module/source.ts";
import type { StoreChange, StorePlace } from "../policy/module/store.ts";
import type { Arguments } from "./command.ts";
import { EXIT } from "./command.ts";
import { INTERRUPTED } from "./exit_status.ts";
import { Interrupt } from "./interrupt.ts";
import type { Terminal } from "./terminal.ts";

/** Where the modules go, and what the kernel has to do with it. */
export interface PolicyPlace {
  readonly store: StorePlace;
  /** Is it the store of this system, and does its kernel run SELinux? */
  readonly isLive: boolean;
}

/**
 * The store that a command is about.
 *
 * @throws {@linkcode RefusedError} in the agent's own domain; {@linkcode PolicyStoreError} for who
 * is not root.
 */
export function policyPlace({ options }: Arguments, command: string): PolicyPlace {
  const root = options["root"] as string | undefined;
  const isLive = root === undefined && isEnabled();
  if (isLive && kernel.ownContext().type === "svirt_agent_t") {
    throw new RefusedError(
      "The agent's domain svirt_agent_t loads no policy, on purpose",
      `As an administrator, from a shell (unconfined_t, sysadm_t): svirt-agent ${command}`,
    );
  }
  if (root === undefined && process.getuid?.() !== 0) {
    throw new PolicyStoreError(
      "Only root changes the policy",
      `sudo svirt-agent ${command}`,
    );
  }
  return { store: findStore(root), isLive };
}

/** Does the kernel's policy have these modules' types? `undefined` where that does not matter. */
export function isLoaded({ types }: Declared, { isLive }: PolicyPlace): boolean | undefined {
  if (!isLive) return undefined;
  const known = types.filter((type) =>
    kernel.knows({ user: "system_u", role: "object_r", type, level: "s0" })
  );
  return known.length === types.length;
}

/**
 * Commits, and does not let itself be interrupted.
 *
 * @returns Exit status: 130 when somebody tried.
 */
export async function commit(
  { store }: PolicyPlace,
  change: StoreChange,
  terminal: Terminal,
): Promise<number> {
  let status: number = EXIT.asExpected;
  using interrupt = new Interrupt();
  void interrupt.signal.then((signal) => {
    status = INTERRUPTED;
    terminal.err(`${signal}: finishing the commit, which is not cut short`);
  });
  try {
    await changeStore(store, change, (line) => terminal.err(line));
  } catch (error) {
    if (!(error instanceof PolicyStoreError) || error.step === undefined) throw error;
    throw new PolicyStoreError(
      `${error.message}\n  Nothing was changed: libsemanage keeps the store as it was`,
      error.hint,
      error.step,
    );
  }
  return status;
}

function isEnabled(): boolean {
  try {
    return kernel.mode() !== "disabled";
  } catch {
    return false; // no libselinux: libsemanage, which needs it, will say so
  }
}
