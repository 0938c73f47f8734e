import type { AuditRecord } from "../../audit/record.ts";
import { isAtLevel } from "../../label/context.ts";
import type { Group } from "./group.ts";

/** What the agent's log says of a file: whom it was handed to, and how. */
export interface Grants {
  /** Guests that ever had this level, the last one last. */
  guestAt(context: string): string | undefined;
  /** What was granted on the files of a denial, as a clause; absent where nothing was. */
  about(group: Group): string | undefined;
}

interface Grant {
  /** Seconds since 1970. */
  readonly time: number;
  readonly guest: string;
  readonly mode: string;
  readonly frozen?: string;
}

/**
 * Learns from the log who had which level and which file. It is not checked: `audit verify` does that.
 *
 * @param records In their order; others than intents, grants and revocations are passed over.
 */
export function grantsOf(records: Iterable<AuditRecord>): Grants {
  const levels = new Map<string, string>();
  const files = new Map<string, Grant[]>();
  for (const record of records) {
    if (record.event === "intent") {
      for (const undo of record.undo) {
        if (undo.kind === "level") levels.set(undo.level, record.guest);
      }
    } else if (record.event === "grant") {
      const { guest, path, mode } = record;
      files.set(path, [...files.get(path) ?? [], { time: timeOf(record), guest, mode }]);
    } else if (record.event === "revoke" && record.left === "ro") {
      const { guest, path, grade } = record;
      const frozen = { time: timeOf(record), guest, mode: "ro", frozen: grade };
      files.set(path, [...files.get(path) ?? [], frozen]);
    }
  }
  const guestAt = (context: string) =>
    [...levels].findLast(([level]) => isAtLevel(context, level))?.[1];
  return {
    guestAt,
    about: ({ denials }) => {
      const own = new Set<string>();
      const others = new Set<string>();
      for (const { scontext, path, fullPath, time = Infinity } of denials) {
        const granted = (files.get(path ?? fullPath ?? "") ?? []).filter((it) => it.time <= time);
        const guest = guestAt(scontext);
        const grant = granted.findLast((it) => it.guest === guest) ?? granted.at(-1);
        if (grant === undefined) continue;
        if (grant.guest !== guest) others.add(`${grant.guest}'s`);
        else if (grant.frozen !== undefined) own.add(`frozen, ${grant.frozen}`);
        else own.add(`handed over ${grant.mode === "ro" ? "read-only" : "read-write"}`);
      }
      const parts = [
        ...(own.size === 0 ? [] : [`its own (${[...own].join("; ")})`]),
        ...(others.size === 0 ? [] : [[...others].join(" or ")]),
      ];
      return parts.length === 0 ? undefined : `by the agent's log it is ${parts.join(" or ")}`;
    },
  };
}

function timeOf({ time }: Pick<AuditRecord, "time">): number {
  return Date.parse(time) / 1000;
}
