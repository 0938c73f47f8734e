import { createReadStream } from "node:fs";
import { UsageError } from "./command.ts";

/** Longest line in characters that is kept whole; no record of a log comes near. */
const MAX_LINE = 1 << 16;

/**
 * Lines of a file, a pipe, or of standard input where it is called `-`.
 *
 * @throws `UsageError` for what cannot be read.
 */
export async function* linesOf(file: string): AsyncGenerator<string> {
  const stream = file === "-" ? process.stdin : createReadStream(file);
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for await (const chunk of stream) {
      const parts = (rest + decoder.decode(chunk as Uint8Array, { stream: true })).split("\n");
      rest = parts.pop()!;
      yield* parts;
      if (rest.length > MAX_LINE) rest = rest.slice(0, MAX_LINE);
    }
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    if (code === undefined) throw error;
    throw new UsageError(message, "Name a log, or pipe one: ausearch -m AVC,USER_AVC | ... -");
  }
  rest += decoder.decode();
  if (rest !== "") yield rest;
}
