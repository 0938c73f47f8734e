import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { follow, type Problem } from "./chain.ts";
import { lines } from "./lines.ts";
import { type AuditRecord, EMPTY, type Head, MAX_LINE } from "./record.ts";

/** Notes that are kept; the rest is only counted. */
const MAX_NOTES = 100;

type Take = (record: AuditRecord) => void;

/** A log whose every record is as it was written, or the first that is not. */
export type Checked = Whole | Broken;

export interface Whole {
  readonly ok: true;
  readonly records: number;
  /** Hash of the last record; 64 zeros for an empty log. */
  readonly head: string;
  readonly bytes: number;
  /** Oddities that break nothing, such as a clock that went backwards; the first hundred. */
  readonly notes: readonly Note[];
}

/** Something to know about one line. */
export interface Note {
  /** From 1. */
  readonly line: number;
  readonly text: string;
}

export interface Broken extends Problem {
  readonly ok: false;
  /** From 1. */
  readonly line: number;
  /** The line around the place, at most 160 characters, harmless on a terminal. */
  readonly excerpt: string;
  /** Of the place in `excerpt`, from 0. */
  readonly caret?: number;
}

/**
 * Checks the whole chain of a log, in constant memory, and finds the first bad record.
 *
 * What it cannot see: records cut off at the end, and a log rewritten from some record on with all
 * its hashes. Both show in a head that was kept elsewhere.
 *
 * The file is read with `node:fs`, links followed: an auditor checks a copy, on any machine.
 *
 * @param take Told each record once it is known to be as it was written.
 * @throws The error of `node:fs` when the file cannot be read.
 */
export function checkLog(path: string, take: Take = () => {}): Checked {
  // O_NONBLOCK: opening a FIFO that someone put there must not hang.
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    if (!fstatSync(fd).isFile()) throw new TypeError(`Cannot check "${path}": not a regular file`);
    return checkLines((buffer, offset) => readSync(fd, buffer, 0, buffer.length, offset), take);
  } finally {
    closeSync(fd);
  }
}

function checkLines(
  read: (buffer: Uint8Array, offset: number) => number,
  take: Take,
): Checked {
  const notes: Note[] = [];
  let head: Head = EMPTY;
  let time = "";
  let bytes = 0, line = 0;
  for (const { bytes: text, complete } of lines(read, MAX_LINE)) {
    line++;
    if (!complete && text.length <= MAX_LINE) return broken(line, text, TORN);
    const next = follow(text, head);
    if ("problem" in next) return broken(line, text, next.problem);
    if (next.record.time < time && notes.length < MAX_NOTES) {
      notes.push({ line, text: `the clock went back from ${time} to ${next.record.time}` });
    }
    take(next.record);
    head = next.record;
    time = next.record.time;
    bytes += text.length + 1;
  }
  return { ok: true, records: head.seq + 1, head: head.hash, bytes, notes };
}

const TORN: Problem = {
  problem: "incomplete last line: the agent or the host stopped while it was written",
  hint: "Nothing was granted on it. The next start of the agent cuts it off and records a finding.",
};

const EXCERPT = 160;

function broken(line: number, text: Uint8Array, problem: Problem): Broken {
  const place = problem.column === undefined ? 0 : problem.column - 1;
  const from = place < EXCERPT ? 0 : place - EXCERPT / 2;
  const excerpt = new TextDecoder().decode(text).slice(from, from + EXCERPT)
    .replace(/\p{C}/gu, "\u00b7");
  const caret = problem.column === undefined ? {} : { caret: place - from };
  return { ok: false, line, ...problem, excerpt, ...caret };
}

/**
 * The problem as a compiler would print it:
 *
 *     audit.jsonl:17: seq 16: hash does not match: this record was changed after it was written
 *         {"agent":{"pid":812,...
 *     hint: Compare with a backup of the log. ...
 */
export function formatProblem(file: string, broken: Broken): string {
  const { line, column, seq, problem, excerpt, caret, hint } = broken;
  const place = column === undefined ? `${file}:${line}` : `${file}:${line}:${column}`;
  const name = seq === undefined ? "" : `seq ${seq}: `;
  const shown = [`${place}: ${name}${problem}`, `    ${excerpt}`];
  if (caret !== undefined) shown.push(`    ${" ".repeat(caret)}^`);
  return [...shown, `hint: ${hint}`].join("\n");
}
