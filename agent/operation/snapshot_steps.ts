import { reach } from "../io/step.ts";

/** What a snapshot goes through. */
export const SNAPSHOT_STEPS = [
  "intent",
  // The first overlay is there, and empty.
  "create",
  "prepare",
  "transaction",
  "reopen",
  "remove",
  "relabel",
  "verify",
  "record",
] as const;

/** Says that a step of a snapshot is done. */
export function snapshotStep(name: typeof SNAPSHOT_STEPS[number]): void {
  reach("snapshot", name);
}
