/** What is wrong with an image; code branches on this, never on the text. */
export type ImageErrorCode =
  | "outside-folders"
  | "folder-unsafe"
  | "not-an-image"
  | "hard-linked"
  | "replaced"
  | "in-use"
  | "twice"
  | "storage"
  | "not-readable"
  | "bad-header"
  | "chain-unclear"
  | "header-differs";

/** What a caller may add to an {@linkcode ImageError}. */
export interface ImageErrorOptions {
  /** What the reader of the message can do now, as a full sentence. */
  hint?: string | undefined;
}

/** An image, or the folder it lies in, is not what the agent may hand to a guest. */
export class ImageError extends Error {
  override readonly name = "ImageError";
  readonly path: string;
  readonly code: ImageErrorCode;
  readonly hint: string | undefined;

  /** @param what Predicate of the message, whose subject is the path: `"is a FIFO"`. */
  constructor(code: ImageErrorCode, path: string, what: string, options: ImageErrorOptions = {}) {
    super(`${JSON.stringify(path)} ${what}`);
    this.code = code;
    this.path = path;
    this.hint = options.hint;
  }
}

/** A path as one word of a shell command in a hint: names from headers are a guest's to choose. */
export function shellWord(path: string): string {
  return /^[\w./:@%+,-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;
}
