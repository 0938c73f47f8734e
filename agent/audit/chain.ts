import { type AuditRecord, type Head, MAX_LINE, recompute, type Recomputed } from "./record.ts";

/** Why a line is not the next record of the chain. */
export interface Problem {
  /** What the line itself says; absent when it cannot be read. */
  readonly seq?: number;
  /** From 1, in UTF-16 code units, where the place is known. */
  readonly column?: number;
  /** Predicate of the message: `hash does not match: ...`. */
  readonly problem: string;
  readonly hint: string;
}

const CHANGED = "Compare with a backup of the log. Its records up to this one are intact.";
const REMOVED = "Compare with a backup of the log, or look for the part that was moved away.";
const FOREIGN =
  "Something else than svirt-agent wrote here. Compare with a backup of the log, then cut it out.";

// ignoreBOM: a byte-order mark is a change like any other.
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Reads a line as the record that follows `previous`. What stands in the line is asked before how it
 * is chained, so that a record that was changed is named itself and not its successor.
 *
 * @param line Without its newline.
 */
export function follow(
  line: Uint8Array,
  previous: Head,
): { record: AuditRecord } | { problem: Problem } {
  if (line.length > MAX_LINE) {
    return bad(`longer than ${MAX_LINE} bytes: no record is`, FOREIGN);
  }
  let text: string;
  try {
    text = decoder.decode(line);
  } catch {
    return bad("not UTF-8: this record was changed after it was written", CHANGED);
  }
  let record: unknown;
  try {
    record = JSON.parse(text);
  } catch (error) {
    const at = /at position (\d+)/.exec((error as Error).message);
    const column = at === null ? {} : { column: Number(at[1]) + 1 };
    return bad("not JSON: this record was changed after it was written", CHANGED, column);
  }
  if (!isRecord(record)) {
    return bad('not a record: it needs "seq", "time", "event", "prev" and "hash"', FOREIGN);
  }
  const { seq } = record;
  let is: Recomputed;
  try {
    is = recompute(record);
  } catch (error) {
    return bad(`not canonical: ${(error as Error).message}`, CHANGED, { seq });
  }
  if (is.line !== text) {
    const column = firstDifference(is.line, text) + 1;
    return bad("not canonical: this is not the text that the agent wrote", CHANGED, {
      seq,
      column,
    });
  }
  if (is.hash !== record.hash) {
    return bad("hash does not match: this record was changed after it was written", CHANGED, {
      seq,
    });
  }
  if (record.prev !== previous.hash) {
    return bad("prev does not match: a record before it was removed or replaced", REMOVED, { seq });
  }
  if (seq !== previous.seq + 1) {
    return bad(`seq is not ${previous.seq + 1}: the chain was not written by the agent`, FOREIGN, {
      seq,
    });
  }
  return { record };
}

function bad(
  problem: string,
  hint: string,
  where: Pick<Problem, "seq" | "column"> = {},
): { problem: Problem } {
  return { problem: { ...where, problem, hint } };
}

function isRecord(value: unknown): value is AuditRecord {
  if (typeof value !== "object" || value === null) return false;
  const { seq, time, event, prev, hash } = value as { [key: string]: unknown };
  return Number.isSafeInteger(seq) &&
    [time, event, prev, hash].every((field) => typeof field === "string");
}

function firstDifference(a: string, b: string): number {
  let i = 0;
  while (i < a.length && a[i] === b[i]) i++;
  return i;
}
