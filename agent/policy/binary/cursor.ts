/** What follows is not what a policy has there. */
export class PolicyFormatError extends Error {
  override readonly name = "PolicyFormatError";
  readonly hint = "Is it a whole binary policy (policy.33 and the like), and no module or text?";
}

/** Reads the little-endian numbers, names and bitmaps that a binary policy is made of. */
export class Cursor {
  readonly #view: DataView;
  readonly #bytes: Uint8Array;
  /** Where the next one is read, in bytes from the beginning. */
  at = 0;

  /** @param bytes Lent for as long as this is used. */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  u8(): number {
    return this.#view.getUint8(this.#step(1));
  }

  u16(): number {
    return this.#view.getUint16(this.#step(2), true);
  }

  u32(): number {
    return this.#view.getUint32(this.#step(4), true);
  }

  /**
   * How many of something follow.
   *
   * @param least Bytes that each of them takes at least: nothing is set aside for more than there are.
   */
  count(least: number): number {
    const count = this.u32();
    if (count * least > this.#bytes.length - this.at) this.fail("the file ends too early");
    return count;
  }

  /** Several of {@linkcode u32}. */
  u32s(count: number): number[] {
    return Array.from({ length: count }, () => this.u32());
  }

  /** A copy of what comes. */
  bytes(count: number): Uint8Array {
    const start = this.#step(count);
    return new Uint8Array(this.#bytes.subarray(start, start + count));
  }

  skip(bytes: number): void {
    this.#step(bytes);
  }

  /** @param length In bytes; there is no NUL at the end. */
  name(length: number): string {
    const start = this.#step(length);
    return ASCII.decode(this.#bytes.subarray(start, start + length));
  }

  /** struct ebitmap: the numbers of the bits that are set, counted from 1 as symbols are. */
  bitmap(): number[] {
    const set: number[] = [];
    for (let nodes = this.#bitmapHead(); nodes > 0; nodes--) {
      const start = this.u32();
      for (const base of [start, start + 32]) {
        // The lowest bit that is set, then without it.
        for (let word = this.u32(); word !== 0; word &= word - 1) {
          set.push(base + 32 - Math.clz32(word & -word));
        }
      }
    }
    return set;
  }

  skipBitmap(): void {
    this.skip(this.#bitmapHead() * NODE_BYTES);
  }

  /** Number of nodes that follow. */
  #bitmapHead(): number {
    const [unit, , nodes] = this.u32s(3);
    if (unit !== MAP_UNIT) this.fail(`a bitmap of ${unit} bits a node`);
    return nodes!;
  }

  fail(what: string): never {
    throw new PolicyFormatError(`byte ${this.at}: ${what}`);
  }

  #step(bytes: number): number {
    const start = this.at;
    if (bytes > this.#bytes.length - start) this.fail("the file ends too early");
    this.at = start + bytes;
    return start;
  }
}

const ASCII = new TextDecoder("latin1");
/** Bits of an ebitmap's node; a node is where it starts (u32) and its bits (u64). */
const MAP_UNIT = 64;
const NODE_BYTES = 12;
