/** An error that tells its reader what to do about it. */
export abstract class HintedError extends Error {
  /** What to do now. */
  readonly hint: string;

  constructor(message: string, hint: string) {
    super(message);
    this.hint = hint;
  }
}
