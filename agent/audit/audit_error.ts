/** What is wrong with a log; code branches on this, never on the text. */
export type AuditErrorCode = "not-a-log" | "broken" | "replaced";

/** The file is not a log that the agent may append to. */
export class AuditError extends Error {
  override readonly name = "AuditError";
  readonly code: AuditErrorCode;
  readonly path: string;
  /** What the reader of the message can do now, as a full sentence. */
  readonly hint: string;

  /** @param what Predicate of the message, whose subject is the path: `"is a FIFO"`. */
  constructor(code: AuditErrorCode, path: string, what: string, hint: string) {
    super(`${JSON.stringify(path)} ${what}`);
    this.code = code;
    this.path = path;
    this.hint = hint;
  }
}
