/** What a caller may add to a {@linkcode ConfigError}. */
export interface ConfigErrorOptions {
  /** Table and key, `image[0].format`. */
  key?: string | undefined;
  /** From 1. */
  line?: number | undefined;
  /** From 1; only of a TOML syntax error. */
  column?: number | undefined;
  /** What the reader of the message can do now, as a full sentence; not part of the message. */
  hint?: string | undefined;
}

/**
 * A configuration file says something that the agent cannot do.
 *
 * The message reads `web1.toml: image[0].format: missing (say "qcow2" or "raw")`.
 */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  /** As it was given. */
  readonly file: string;
  readonly key: string | undefined;
  readonly line: number | undefined;
  readonly column: number | undefined;
  readonly hint: string | undefined;

  constructor(file: string, problem: string, options: ConfigErrorOptions = {}) {
    const { key, line, column, hint } = options;
    const place = [file, line, column].filter((part) => part !== undefined).join(":");
    super([place, key, problem].filter((part) => part !== undefined).join(": "));
    this.file = file;
    this.key = key;
    this.line = line;
    this.column = column;
    this.hint = hint;
  }
}
