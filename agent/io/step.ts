/** Hears that a step of an operation is done. When it throws, the operation fails there. */
export type StepListener = (operation: string, step: string) => void;

const listeners = new Set<StepListener>();

/**
 * Calls `listener` after every step; progress on the terminal is one, the crash tests are another,
 * an interrupt at the keyboard a third.
 */
export function onStep(listener: StepListener): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Says that a step is done: everything before this line has had its effect, nothing after it. */
export function reach(operation: string, step: string): void {
  for (const listener of listeners) listener(operation, step);
}
