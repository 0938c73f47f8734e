import { recover } from "../operation/recover.ts";
import { type Arguments, EXIT } from "./command.ts";
import { openHost } from "./open_host.ts";
import { ownLock } from "./own_lock.ts";
import type { Terminal } from "./terminal.ts";

/** Brings to an end what a dead agent left of a guest. */
export async function run(args: Arguments, terminal: Terminal): Promise<number> {
  const guest = args.operands[0]!;
  using host = openHost(args, terminal, { announce: true });
  using _alone = ownLock(guest, host);
  const did = await recover(guest, host, { stop: args.options["stop"] === true });
  for (const line of did.length > 0 ? did : ["there is nothing to recover"]) {
    terminal.out(`${guest}: ${line}`);
  }
  return EXIT.asExpected;
}
