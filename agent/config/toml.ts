import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { parse, TomlError } from "smol-toml";
import { ConfigError } from "./config_error.ts";
import { type KeyLines, keyLines } from "./key_lines.ts";

/** No configuration that a person wrote is longer, in bytes. */
const MAX_BYTES = 1 << 20;

/** Deepest nesting of arrays and inline tables; a guest file needs three. */
const MAX_DEPTH = 16;

/**
 * Reads a TOML file. Integers come as bigint, so that they differ from floats.
 *
 * @param whenMissing Hint for a file that does not exist.
 * @throws {@linkcode ConfigError} with line and column where TOML is at fault.
 */
export function readToml(file: string, whenMissing?: string): { [key: string]: unknown } {
  return readTomlAndLines(file, whenMissing).document;
}

/** The same, and where its keys stand, for messages about what they say. */
export function readTomlAndLines(
  file: string,
  whenMissing?: string,
): { readonly document: { [key: string]: unknown }; readonly lines: KeyLines } {
  const text = decode(file, readFile(file, whenMissing));
  return { document: parseToml(file, text), lines: keyLines(text) };
}

function parseToml(file: string, text: string): { [key: string]: unknown } {
  try {
    return parse(text, { integersAsBigInt: true, maxDepth: MAX_DEPTH });
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const { line, column } = error;
    // Its message goes on with an excerpt of the file.
    const problem = error.message.split("\n")[0]!.replace(/^Invalid TOML document: /, "");
    throw new ConfigError(file, problem, { line, column });
  }
}

function readFile(file: string, whenMissing: string | undefined): Uint8Array {
  let fd: number;
  try {
    // O_NONBLOCK: opening a FIFO that someone put there must not hang the agent.
    fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    if (code === "ENOENT") throw new ConfigError(file, "does not exist", { hint: whenMissing });
    if (code !== "EACCES") throw new ConfigError(file, message);
    const hint = `See ls -lZ ${file}; a denial by SELinux: ausearch -m AVC -ts recent`;
    throw new ConfigError(file, "may not be read", { hint });
  }
  try {
    if (!fstatSync(fd).isFile()) throw new ConfigError(file, "not a regular file");
    const buffer = new Uint8Array(MAX_BYTES + 1);
    let length = 0;
    for (let count = -1; count !== 0 && length <= MAX_BYTES; length += count) {
      count = readSync(fd, buffer, length, buffer.length - length, length);
    }
    if (length > MAX_BYTES) throw new ConfigError(file, `longer than ${MAX_BYTES} bytes`);
    return buffer.subarray(0, length);
  } finally {
    closeSync(fd);
  }
}

function decode(file: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new ConfigError(file, "not UTF-8", { hint: `See: iconv -f utf-8 ${file} >/dev/null` });
  }
}
