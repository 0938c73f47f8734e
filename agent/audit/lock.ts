import { SystemError } from "../../ffi/errno.ts";
import { setLock } from "../../ffi/libc.ts";
import type { OwnedFd } from "../owned_fd.ts";

/** How long to wait for another process that appends, in milliseconds. */
const DEADLINE = 5000;

/** Longest pause between two tries, in milliseconds; an append takes about one. */
const LONGEST_PAUSE = 8;

/**
 * Locks a whole file for writing, waiting for its turn. The lock belongs to the open file, so two
 * opens in one process keep each other out as well.
 *
 * Blocks the thread: nobody may see the agent between a decision and its record.
 *
 * @param fd Lent.
 * @param holder Who may hold the lock, for the message: the kernel does not tell.
 * @returns Unlocks when disposed.
 * @throws {@linkcode SystemError} `EAGAIN` after five seconds.
 */
export function lockForWriting(fd: OwnedFd, holder: string): Disposable {
  const whole = { start: 0, length: 0 };
  const deadline = performance.now() + DEADLINE;
  for (let pause = 0.5;; pause = Math.min(2 * pause, LONGEST_PAUSE)) {
    try {
      setLock(fd.number, { type: "write", ...whole });
      return { [Symbol.dispose]: () => setLock(fd.number, { type: "unlock", ...whole }) };
    } catch (error) {
      if (!(error instanceof SystemError) || error.code !== "EAGAIN") throw error;
      if (performance.now() > deadline) {
        throw new SystemError(error.operation, error.errno, {
          path: fd.path,
          hint: `Another process has held the lock of the audit log for ${DEADLINE / 1000} s: ` +
            `${holder}. Is it stopped? See who has the file open: fuser -v ${fd.path}`,
        });
      }
    }
    // Random, so that two that wait do not stay in step.
    sleep(pause * (0.5 + Math.random()));
  }
}

const nobody = new Int32Array(new SharedArrayBuffer(4));

function sleep(milliseconds: number): void {
  Atomics.wait(nobody, 0, 0, milliseconds);
}
