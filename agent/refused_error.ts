/** The agent will not do it: a rule of its own says no, not the kernel. */
export class RefusedError extends Error {
  override readonly name = "RefusedError";
  readonly hint: string | undefined;

  constructor(message: string, hint?: string) {
    super(message);
    this.hint = hint;
  }
}
