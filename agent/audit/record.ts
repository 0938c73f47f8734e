import { hash } from "node:crypto";
import { canonical, canonicalMembers } from "./canonical.ts";
import type { AuditEvent } from "./event.ts";

/** What the log adds to an event; these four keys belong to it alone. */
export interface Seal {
  /** Place in the log, from 0. */
  readonly seq: number;
  /** RFC 3339, UTC, milliseconds. Of the host's clock, which may be set back. */
  readonly time: string;
  /** Hash of the record before; {@linkcode NO_HASH} in the first. */
  readonly prev: string;
  /** SHA-256, 64 hexadecimal digits, of the canonical text of this record without `hash`. */
  readonly hash: string;
}

/** One line of the log: an event, sealed into the chain. */
export type AuditRecord = AuditEvent & Seal;

/** Where a chain has got to: what the next record has to follow. */
export type Head = Pick<Seal, "seq" | "hash">;

/** `prev` of a first record. */
export const NO_HASH: string = "0".repeat(64);

/** The head of an empty log. */
export const EMPTY: Head = { seq: -1, hash: NO_HASH };

/** Longest line of a log in bytes, without its newline: what a reader has to hold in memory. */
export const MAX_LINE: number = 1 << 20;

/**
 * Puts an event behind `previous`. The record shares nothing with `event`, so changing that later
 * changes nothing here.
 *
 * @throws `TypeError` for an event that JSON cannot carry, or that has a key of {@linkcode Seal}.
 * @throws `RangeError` when the line is longer than {@linkcode MAX_LINE}.
 */
export function seal(event: AuditEvent, previous: Head, time: Date = new Date()): AuditRecord {
  for (const key of ["seq", "time", "prev", "hash"]) {
    if (Object.hasOwn(event, key)) throw new TypeError(`Cannot record "${key}": the log sets it`);
  }
  const body = {
    ...event,
    seq: previous.seq + 1,
    time: time.toISOString(),
    prev: previous.hash,
  };
  const line = canonical({ ...body, hash: sha256(canonical(body)) });
  if (Buffer.byteLength(line) > MAX_LINE) {
    throw new RangeError(`Cannot record "${event.event}": it is longer than ${MAX_LINE} bytes`);
  }
  return JSON.parse(line);
}

/** The line of a record, without its newline. */
export function text(record: AuditRecord): string {
  return canonical(record);
}

/** What the bytes of a record should have been. */
export interface Recomputed {
  /** Its canonical text. */
  readonly line: string;
  readonly hash: string;
}

/**
 * Recomputes line and hash of something that was read from a log, in one walk.
 *
 * @throws `TypeError` like {@linkcode canonical}.
 */
export function recompute(read: object): Recomputed {
  const members = canonicalMembers(read);
  const line = `{${[...members.values()].join(",")}}`;
  members.delete("hash");
  return { line, hash: sha256(`{${[...members.values()].join(",")}}`) };
}

function sha256(text: string): string {
  return hash("sha256", text, "hex");
}
