import { EXIT } from "./command.ts";

/** Errors that mean the reader has to change what they asked for. */
const USAGE = ["UsageError", "ConfigError", "ImageError"];
/** The kernel's or the agent's own "no". */
const FINDING = ["RefusedError", "VerdictError", "DroppedError", "CategoriesExhausted"];
/** openat2(2) of an image: the path is wrong, not the host. */
const WRONG_PATH = ["ENOENT", "ENOTDIR", "ELOOP", "EXDEV", "ENXIO"];

/** What a shell reports for a program that Ctrl-C ended. */
export const INTERRUPTED = 130;

/** The exit status of a command that threw; by the error's name, so that none has to be loaded. */
export function exitStatusOf(error: Error & { code?: string; operation?: string }): number {
  // An image as the guest file says, and a header that somebody changed since.
  if (error.name === "ImageError" && error.code === "header-differs") return EXIT.finding;
  if (USAGE.includes(error.name)) return EXIT.usage;
  if (FINDING.includes(error.name)) return EXIT.finding;
  if (error.operation === "openat2" && WRONG_PATH.includes(error.code ?? "")) return EXIT.usage;
  if (error.name === "InterruptedError") return INTERRUPTED;
  return EXIT.unknown;
}
