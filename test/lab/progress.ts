/** Where a build says what it is doing. */
export interface Progress {
  /** One line for a person. */
  say(line: string): void;
  /** Says what begins, and how many seconds it took once it is done. */
  step<T>(what: string, work: () => Promise<T>): Promise<T>;
}

/** Progress as lines, `lab: labels ... 0.4 s`. */
export function progressOn(write: (text: string) => void): Progress {
  return {
    say: (line) => write(`lab: ${line}\n`),
    async step(what, work) {
      write(`lab: ${what} ...`);
      const start = performance.now();
      try {
        const value = await work();
        write(` ${((performance.now() - start) / 1000).toFixed(1)} s\n`);
        return value;
      } catch (error) {
        write(" failed\n");
        throw error;
      }
    },
  };
}

export const silent: Progress = { say: () => {}, step: (_what, work) => work() };
