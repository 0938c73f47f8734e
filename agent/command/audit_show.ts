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
      const record = JSON.parse(text) as AuditRecord & { guest?: string };
      if (guest !== undefined && record.guest !== guest) continue;
      terminal.out(json === true ? text : line(record));
    }
  } finally {
    closeSync(fd);
  }
  return Promise.resolve(EXIT.asExpected);
}

/** One record for a person: when, what, whom, and the fields that tell it from others of its kind. */
function line(record: AuditRecord & { guest?: string }): string {
  const { seq, time, event, guest = "-" } = record;
  return `${seq}  ${time}  ${event.padEnd(11)}  ${guest}  ${DETAIL[event]?.(record) ?? ""}`
    .trimEnd();
}

type Detail = (record: never) => string;

const DETAIL: Readonly<Record<string, (record: AuditRecord) => string>> = Object.fromEntries(
  Object.entries(
    {
      "agent-start": (it: { runtime: string; pid: number }) => `${it.runtime} pid ${it.pid}`,
      boolean: (it: { name: string; from: boolean; to: boolean }) =>
        `${it.name} ${it.from ? "on" : "off"} -> ${it.to ? "on" : "off"}`,
      intent: (it: { operation: string; id: string }) => `${it.operation} ${it.id}`,
      grant: (it: { image: string; mode: string; path: string; label: string | null }) =>
        `${it.image} ${it.mode} ${it.path} ${it.label ?? ""}`,
      revoke: (it: { image: string; path: string; grade: string }) =>
        `${it.image} ${it.path} ${it.grade}`,
      outcome: (it: { operation: string; result: string; error?: { message: string } }) =>
        `${it.result} ${it.operation} ${it.error?.message ?? ""}`,
      verify: (it: { asExpected: boolean }) => it.asExpected ? "as expected" : "NOT AS EXPECTED",
      deny: (it: { key: string; count: number }) => `${it.key} x${it.count}`,
      recover: (it: { did: string[] }) => it.did.join("; "),
      finding: (it: { id: string; text: string }) => `${it.id}: ${it.text}`,
    } satisfies Record<string, Detail>,
  ),
) as Readonly<Record<string, (record: AuditRecord) => string>>;
