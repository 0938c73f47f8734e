import { onStep } from "../io/step.ts";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Somebody pressed Ctrl-C, or the host stops, while a guest was being attached. */
export class InterruptedError extends Error {
  override readonly name = "InterruptedError";

  constructor(signal: string) {
    super(`interrupted by ${signal}; what had been done is undone`);
  }
}

/**
 * Turns signals that end a program into an orderly end, until it is disposed: an attach fails at its
 * next step and is undone, a guest that runs is stopped.
 */
export class Interrupt implements Disposable {
  /** Resolves with the first signal's name. */
  readonly signal: Promise<string>;
  #first: string | undefined;
  readonly #stopListening: () => void;

  constructor() {
    const { promise, resolve } = Promise.withResolvers<string>();
    this.signal = promise;
    const listeners = SIGNALS.map((name) => ({ name, heard: () => resolve(this.#first ??= name) }));
    for (const { name, heard } of listeners) process.on(name, heard);
    const stopSteps = onStep((operation) => {
      // What takes something away from a guest is never cut short.
      if (operation === "attach" && this.#first !== undefined) {
        throw new InterruptedError(this.#first);
      }
    });
    this.#stopListening = () => {
      stopSteps();
      for (const { name, heard } of listeners) process.off(name, heard);
    };
  }

  [Symbol.dispose](): void {
    this.#stopListening();
  }
}
