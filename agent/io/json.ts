const decoder = new TextDecoder("utf-8", { fatal: true });

/**
 * Reads JSON that a guest may have written.
 *
 * @param depth Most nested arrays and objects; JSON.parse itself has no limit but the stack.
 * @throws `SyntaxError` for anything else than one JSON object in UTF-8, and when it is too deep.
 */
export function parseObject(bytes: Uint8Array, depth: number): Record<string, unknown> {
  requireDepth(bytes, depth);
  let value: unknown;
  try {
    value = JSON.parse(decoder.decode(bytes));
  } catch (error) {
    // The parser quotes what it read.
    const why = harmless((error as Error).message);
    throw new SyntaxError(`Cannot read ${excerpt(bytes)}: ${why}`);
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  throw new SyntaxError(`Cannot read ${excerpt(bytes)}: not a JSON object`);
}

const QUOTE = 0x22, BACKSLASH = 0x5c;

function requireDepth(bytes: Uint8Array, most: number): void {
  let depth = 0;
  let inString = false;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]!;
    if (inString) {
      if (byte === BACKSLASH) i++;
      else if (byte === QUOTE) inString = false;
    } else if (byte === QUOTE) inString = true;
    else if (byte === 0x5b || byte === 0x7b) { // [ {
      if (++depth > most) {
        throw new SyntaxError(`Cannot read ${excerpt(bytes)}: nested more than ${most} deep`);
      }
    } else if (byte === 0x5d || byte === 0x7d) depth--; // ] }
  }
}

/** The first bytes of a message, harmless on a terminal. */
function excerpt(bytes: Uint8Array): string {
  const text = new TextDecoder().decode(bytes.subarray(0, 60));
  return harmless(JSON.stringify(bytes.length > 60 ? `${text}...` : text));
}

/** Text of a guest, with everything escaped that a terminal obeys or that turns a line around. */
export function harmless(text: string): string {
  return text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (it) => `\\u{${it.codePointAt(0)!.toString(16)}}`);
}
