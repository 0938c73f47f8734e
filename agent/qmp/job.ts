import { harmless } from "../io/json.ts";
import { type Monitor, MonitorError } from "./monitor.ts";

/** A block job ended with an error; QAPI `JobInfo`. */
export class JobError extends Error {
  override readonly name = "JobError";
}

const POLL_MS = 10;

/**
 * Runs a job to its end and dismisses it.
 *
 * @param start Command that starts it under this id.
 * @throws {@linkcode JobError} with QEMU's reason; `MonitorError` when it does not end in time.
 */
export async function runJob(
  monitor: Monitor,
  id: string,
  start: () => Promise<unknown>,
  timeoutMs: number,
): Promise<void> {
  await start();
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const jobs = await monitor.execute("query-jobs") as {
      id: string;
      status: string;
      error?: string;
    }[];
    const job = jobs.find((job) => job.id === id);
    if (job === undefined) throw new MonitorError(`${monitor.path}: job ${id} is gone`);
    if (job.status === "concluded") {
      await monitor.execute("job-dismiss", { id });
      if (job.error !== undefined) throw new JobError(`${id}: ${harmless(String(job.error))}`);
      return;
    }
    if (Date.now() > deadline) {
      throw new MonitorError(`${monitor.path}: job ${id} is still ${harmless(String(job.status))}`);
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
