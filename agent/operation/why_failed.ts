import type { QemuProcess } from "../process/launch.ts";

/** QEMU ended while something was done with it. */
export class DiedError extends Error {
  override readonly name = "DiedError";
  readonly hint: string =
    "Who killed it? The kernel, when memory ran out: journalctl -k; SELinux denials: " +
    "ausearch -m AVC -ts recent";
}

/** How long the end of a process may take to be heard of, after that of its monitor. */
const HEARD_MS = 500;

/** A monitor that closes, or a verdict on nothing, is how a QEMU that ends looks from here. */
const SYMPTOMS = ["MonitorError", "VerdictError"];

/**
 * What to say about a failure: that QEMU ended, with its last words, where that is why.
 *
 * @param process Absent when QEMU had not been started.
 */
export async function whyFailed(error: Error, process: QemuProcess | undefined): Promise<Error> {
  if (process === undefined || !SYMPTOMS.includes(error.name)) return error;
  const end = await Promise.race([
    process.ended,
    new Promise<undefined>((resolve) => setTimeout(resolve, HEARD_MS, undefined)),
  ]);
  if (end === undefined) return error;
  const said = process.lastWords === "" ? "" : `: ${process.lastWords}`;
  return new DiedError(`QEMU died (${end})${said}`, { cause: error });
}
