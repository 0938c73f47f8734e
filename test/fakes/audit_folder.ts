/**
 * A folder of its own for each test that keeps a log.
 *
 * @module
 */

import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach } from "node:test";
import { checkLog } from "../../agent/audit/check.ts";
import type { AuditEvent } from "../../agent/audit/event.ts";

/** Of the test that runs. */
export let folder: string;
/** Of its log, which does not exist yet. */
export let path: string;

/** Makes a folder before each test of the file that calls this, and removes all of them at its end. */
export function useAuditFolder(): void {
  let top: string;
  let cases = 0;
  before(() => {
    top = realpathSync(mkdtempSync(join(tmpdir(), "audit-")));
  });
  beforeEach(() => {
    folder = join(top, String(cases++));
    mkdirSync(folder);
    path = join(folder, "audit.jsonl");
  });
  afterEach(() => chmodSync(folder, 0o700));
  after(() => rmSync(top, { recursive: true }));
}

/** An event that changes nothing in the state. */
export function event(operation: string): AuditEvent {
  return { event: "recover", operation, guest: "web1", did: [] };
}

/** The beginning of an attach. */
export function intent(id: string): AuditEvent {
  const agent = { pid: 1, startTime: 1 };
  return { event: "intent", operation: "attach", id, guest: "web1", agent, undo: [], plan: {} };
}

/** What the log holds, unchecked. */
export function records(): { [key: string]: unknown }[] {
  return readFileSync(path, "utf8").split("\n").slice(0, -1).map((line) => JSON.parse(line));
}

/** @throws `AssertionError` unless the log is an unbroken chain of so many records. */
export function wholeOf(count: number): void {
  const checked = checkLog(path);
  assert(checked.ok, JSON.stringify(checked));
  assert.equal(checked.records, count);
}
