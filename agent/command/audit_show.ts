import { closeSync, openSync, readSync } from "node:fs";
import { lines } from "../audit/lines.ts";
import { type AuditRecord, MAX_LINE } from "../audit/record.ts";
import { type Arguments, EXIT } from "./command.ts";
import { logPath } from "./log_path.ts";
import type { Terminal } from "./terminal.ts";

/** Prints a log; it is not checked: `audit verify` does that. */
export function run(args: Arguments, terminal: Terminal): Promise<number> {
  const { json, guest, file } = args.options;
  const fd = openSync(logPath(args, file as string | undefined), "r");
  try {
    const read = (buffer: Uint8Array, at: number) => readSync(fd, buffer, 0, buffer.length, at);
    for (const { bytes, complete } of lines(read, MAX_LINE)) {
      if (!complete) continue;
      const text = new TextDecoder().decode(bytes);
      const record = parse(text);
      if (record === undefined) {
        terminal.err("svirt-agent: a line is no record; see: svirt-agent audit verify");
        continue;
      }
      if (guest !== undefined && record.guest !== guest) continue;
      terminal.out(json === true ? text : line(record));
    }
  } finally {
    closeSync(fd);
  }
  return Promise.resolve(EXIT.asExpected);
}

function parse(text: string): (AuditRecord & { guest?: string }) | undefined {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** One record for a person: when, what, whom, and what tells it from others of its kind. */
function line(record: AuditRecord & { guest?: string }): string {
  const { seq, time, event, guest = "-" } = record;
  return `${seq}  ${time}  ${event.padEnd(11)}  ${guest}  ${detail(record)}`.trimEnd();
}

function detail(record: AuditRecord): string {
  const word = (value: boolean) => value ? "on" : "off";
  switch (record.event) {
    case "agent-start":
      return `${record.runtime} pid ${record.pid}`;
    case "boolean":
      return `${record.name} ${word(record.from)} -> ${word(record.to)}`;
    case "intent":
      return `${record.operation} ${record.id}`;
    case "grant":
      return `${record.image} ${record.mode} ${record.path} ${record.label ?? ""}`;
    case "revoke":
      return `${record.image} ${record.path} ${record.grade}`;
    case "outcome":
      return `${record.result} ${record.operation} ${record.error?.message ?? ""}`;
    case "verify":
      return record.asExpected ? "as expected" : "NOT AS EXPECTED";
    case "deny":
      return `${record.key} x${record.count}`;
    case "recover":
      return record.did.join("; ");
    case "finding":
      return `${record.id}: ${record.text}`;
  }
}
