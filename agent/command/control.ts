import { readAgent } from "../config/agent_file.ts";
import { placeOf } from "../process/place.ts";
import { GUEST_INTERFACE } from "../service/guest_interface.ts";
import { call, type Parameters, VarlinkError } from "../service/varlink.ts";
import type { Arguments } from "./command.ts";
import { HintedError } from "../hinted_error.ts";

/** Nobody guards the guest, so nobody can be asked about it. */
class NoGuardError extends HintedError {
  override readonly name = "NoGuardError";
}

/** The error that the guarding agent reported, under its own name, so that the exit status is its. */
class RemoteError extends Error {
  readonly hint: string | undefined;
  readonly code: string | undefined;

  constructor({ name, message, hint, code }: Record<string, string | undefined>) {
    super(message);
    this.name = name ?? "Error";
    this.hint = hint;
    this.code = code;
  }
}

/**
 * Asks the agent that guards a guest.
 *
 * @throws {@linkcode NoGuardError} when none does.
 */
export async function askGuard(
  { options }: Arguments,
  guest: string,
  method: string,
  parameters: Parameters,
): Promise<Parameters> {
  const { control } = placeOf(guest, readAgent(options["config"] as string | undefined));
  try {
    return await call(control, `${GUEST_INTERFACE}.${method}`, parameters);
  } catch (error) {
    const { code } = error as { code?: string };
    if (code === "ENOENT" || code === "ECONNREFUSED") {
      throw new NoGuardError(
        `no svirt-agent guards a guest "${guest}" (${control})`,
        "Start it: svirt-agent run GUEST.toml. Those of this host: svirt-agent guest list",
      );
    }
    if (error instanceof VarlinkError && error.error.startsWith(GUEST_INTERFACE)) {
      throw new RemoteError(error.parameters as Record<string, string | undefined>);
    }
    throw error;
  }
}
