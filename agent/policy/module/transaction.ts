/**
 * Reads or changes the store of policy modules, as a program of its own: libsemanage blocks for
 * seconds, says on stderr why it fails, and its children (load_policy, sefcontext_compile) would be
 * ended by the Ctrl-C of a terminal in the middle of a commit.
 *
 * @module
 */

import { ANSWER } from "./answer.ts";
import { ModuleStore, type StoreChange, type StoreError, type StorePlace } from "./store.ts";

/** What {@link ./child.ts} asks for, as JSON in the only argument. */
export interface Transaction {
  readonly place: StorePlace;
  /** Names of the modules to be read; or what to change. */
  readonly read?: readonly string[];
  readonly change?: StoreChange;
}

try {
  const { place, read, change } = JSON.parse(process.argv[2]!) as Transaction;
  const store = new ModuleStore(place);
  if (change !== undefined) store.change(change);
  answer(read === undefined ? {} : store.read(read));
} catch (error) {
  const { message, step } = error as StoreError;
  answer({ failed: step ?? "change", message });
  process.exitCode = 1;
}

/** As a line of its own: libsemanage writes on stdout as well, before or after it. */
function answer(it: unknown): void {
  process.stdout.write(`\n${ANSWER}${JSON.stringify(it)}\n`);
}
