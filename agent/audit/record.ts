import { hash } from "node:crypto";
import { canonical, canonicalMembers, MAX_DEPTH } from "./canonical.ts";
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
  const members = canonicalMembers(body);
  const digest = sha256(`{${members.join(",")}}`);
  const before = Object.keys(body).filter((key) => key < "hash").length;
  members.splice(before, 0, `"hash":"${digest}"`);
  const line = `{${members.join(",")}}`;
  if (Buffer.byteLength(line) > MAX_LINE) {
    throw new RangeError(`Cannot record "${event.event}": it is longer than ${MAX_LINE} bytes`);
  }
  return JSON.parse(line);
}

/** The line of a record, without its newline. */
export function text(record: AuditRecord): string {
  return lineOf(record);
}

/** What the bytes of a record should have been. */
export interface Recomputed {
  /** Its canonical text. */
  readonly line: string;
  readonly hash: string;
}

/**
 * Recomputes line and hash of a record that JSON.parse made.
 *
 * @throws `TypeError` like {@linkcode canonical}.
 */
export function recompute(read: AuditRecord): Recomputed {
  const line = lineOf(read);
  // Its own hash cannot stand in a record a second time, so what is found first is the member; and
  // "prev" always follows it.
  const member = `"hash":"${read.hash}",`;
  const at = line.indexOf(member);
  return { line, hash: sha256(line.slice(0, at) + line.slice(at + member.length)) };
}

/** canonical(), by native code where that prints the same: keys in order, no lone surrogate to escape. */
function lineOf(read: AuditRecord): string {
  if (isSorted(read, 0)) {
    const line = JSON.stringify(read);
    if (!line.includes("\\ud")) return line;
  }
  return canonical(read);
}

/** Are the keys of a value in canonical order, at every depth that canonical() takes? */
function isSorted(value: unknown, depth: number): boolean {
  if (typeof value !== "object" || value === null) return true;
  if (depth >= MAX_DEPTH) return false;
  if (Array.isArray(value)) return value.every((element) => isSorted(element, depth + 1));
  const keys = Object.keys(value);
  return keys.every((key, i) =>
    (i === 0 || keys[i - 1]! < key) &&
    isSorted((value as { [key: string]: unknown })[key], depth + 1)
  );
}

function sha256(text: string): string {
  return hash("sha256", text, "hex");
}
