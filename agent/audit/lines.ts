const NEWLINE = 0x0a;

/** Fills `buffer` from a place in the file and returns the bytes read, 0 at its end. */
export type ReadAt = (buffer: Uint8Array, offset: number) => number;

/** One line of a file. */
export interface Line {
  /** Without the newline; overwritten when the next line is read. */
  readonly bytes: Uint8Array;
  /** Of its first byte in the file. */
  readonly offset: number;
  /** False for what stands behind the last newline. */
  readonly complete: boolean;
}

/**
 * Reads a file line by line in constant memory.
 *
 * @param limit Longest line in bytes. One that is longer comes cut off after `limit + 1` bytes, and
 * is the last.
 */
export function* lines(
  read: ReadAt,
  limit: number,
  { start = 0, chunk = 1 << 18 }: { start?: number; chunk?: number } = {},
): Generator<Line, void, void> {
  let buffer = new Uint8Array(Math.min(chunk, limit + 2));
  let begin = 0, end = 0, offset = start;
  for (;;) {
    for (;;) {
      const newline = buffer.subarray(0, end).indexOf(NEWLINE, begin);
      if (newline < 0 || newline - begin > limit) break;
      yield { bytes: buffer.subarray(begin, newline), offset, complete: true };
      offset += newline + 1 - begin;
      begin = newline + 1;
    }
    if (end - begin > limit) {
      yield { bytes: buffer.subarray(begin, begin + limit + 1), offset, complete: false };
      return;
    }
    if (begin > 0) {
      buffer.copyWithin(0, begin, end);
      end -= begin;
      begin = 0;
    } else if (end === buffer.length) {
      buffer = grown(buffer, limit + 2);
    }
    const count = read(buffer.subarray(end), offset + end);
    if (count === 0) break;
    end += count;
  }
  if (end > 0) yield { bytes: buffer.subarray(0, end), offset, complete: false };
}

function grown(buffer: Uint8Array<ArrayBuffer>, most: number): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(Math.min(2 * buffer.length, most));
  larger.set(buffer);
  return larger;
}
