import { ImageError } from "./image_error.ts";

/** Big-endian fields of a file that a guest may have written: every read is bounded. */
export class Field {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #path: string;

  constructor(bytes: Uint8Array, path: string) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#path = path;
  }

  get length(): number {
    return this.#bytes.length;
  }

  /** @param what Name of the field, for messages. */
  u32(offset: number, what: string): number {
    this.#require(offset, 4, what);
    return this.#view.getUint32(offset);
  }

  u64(offset: number, what: string): bigint {
    this.#require(offset, 8, what);
    return this.#view.getBigUint64(offset);
  }

  /** A name: UTF-8 without control characters, which would cut it short in C or paint a terminal. */
  text(offset: number, length: number, what: string): string {
    this.#require(offset, length, what);
    const bytes = this.#bytes.subarray(offset, offset + length);
    let text: string;
    try {
      text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
      throw this.bad(offset, `${what} that is no UTF-8`);
    }
    if (/\p{Cc}/u.test(text)) throw this.bad(offset, `${what} with control characters`);
    return text;
  }

  /** The error to throw for a field whose value makes no sense. */
  bad(offset: number, what: string): ImageError {
    return new ImageError(
      "bad-header",
      this.#path,
      `has a bad qcow2 header: ${what} at byte ${offset}`,
      {
        hint: "Is its format qcow2? If so, look at it with: qemu-img check",
      },
    );
  }

  #require(offset: number, length: number, what: string): void {
    if (offset + length > this.#bytes.length) throw this.bad(offset, `no ${what}, the file ends`);
  }
}
