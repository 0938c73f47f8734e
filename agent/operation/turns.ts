import { RefusedError } from "../refused_error.ts";

/**
 * Operations on one guest, one at a time: each changes its block graph, and the last of all is its
 * end, which gives back what the others took.
 */
export class Turns {
  #last: Promise<unknown> = Promise.resolve();
  #closed = false;

  /**
   * Runs `work` when what was asked for earlier has ended.
   *
   * @throws {@linkcode RefusedError} once the guest is being stopped.
   */
  take<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#last.then(() => {
      if (!this.#closed) return work();
      throw new RefusedError("the guest is being stopped", "Start it again with svirt-agent run.");
    });
    this.#last = mine.catch(() => {});
    return mine;
  }

  /** Lets nothing more begin; resolves when what is under way has ended. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#last;
  }
}
