import type { OutcomeEvent } from "../audit/event.ts";

/** An error as the log keeps it. */
export function tellError(error: Error): NonNullable<OutcomeEvent["error"]> {
  const { name, message, code, hint } = error as Error & { code?: string; hint?: string };
  return {
    name,
    message,
    ...(code !== undefined && { code }),
    ...(hint !== undefined && { hint }),
  };
}
