import { type Arguments, EXIT } from "./command.ts";
import { askGuard } from "./control.ts";

/** Asks the agent that guards the guest to stop it; that agent reports what it gave back. */
export async function run(args: Arguments): Promise<number> {
  await askGuard(args, args.operands[0]!, "Stop", {});
  return EXIT.asExpected;
}
