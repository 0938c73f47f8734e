/**
 * Finds denials in whatever text has them: audit.log, the kernel's log, ausearch(8) in any of its
 * forms, journalctl(1); and joins what other records of the same event tell about each.
 *
 * @module
 */

import { type Companions, companionsOf, companionType, type EventRecords } from "./avc_event.ts";
import { type Denial, fieldOf, parseDenial } from "./avc.ts";

/** A denial, with what the records around it tell. */
export interface SeenDenial extends Denial, Companions {
  /** Of the audit event; a line of the journal has none. */
  readonly serial?: number;
  /** Seconds since 1970, where the record has them. */
  readonly time?: number;
  /** As `ausearch -i` or the journal wrote it, in the words of that machine's locale. */
  readonly clock?: string;
}

/** A boolean was switched, or a policy loaded: the rules were others before. */
export interface PolicyChange {
  /** Seconds since 1970. */
  readonly time: number;
  /** Absent for a policy that was loaded. */
  readonly boolean?: { readonly name: string; readonly from: boolean; readonly to: boolean };
}

/** What a log has for somebody who asks why something was denied. */
export interface AvcLog {
  readonly denials: readonly SeenDenial[];
  readonly changes: readonly PolicyChange[];
  readonly lines: number;
  /** Lines that are part of no denial. */
  readonly skipped: number;
}

const RECORD = /type=(\w+) (?:msg=)?audit\(([^)]*):(\d+)\) ?:/;
/** MAC_CONFIG_CHANGE and MAC_POLICY_LOAD; by number in the kernel's log. */
const SWITCHED = ["MAC_CONFIG_CHANGE", "1405"];
const LOADED = ["MAC_POLICY_LOAD", "1403"];

/** How many events stay open for records that come late, or before their AVC as ausearch prints them. */
const OPEN_EVENTS = 256;

/** One audit event, until no more records of it can be expected. */
interface Event extends EventRecords {
  /** Lines that tell about its denials; without a denial they count as skipped. */
  lines: number;
  denials: (SeenDenial & { readonly serial: number })[];
}

/** Takes lines, one after the other, in any order that a log may have them. */
export class AvcReader {
  readonly #events = new Map<string, Event>();
  readonly #denials: SeenDenial[] = [];
  /** Denials without a number: the journal has them once more, as the audit socket sent them. */
  readonly #unnumbered: SeenDenial[] = [];
  readonly #seen = new Set<string>();
  readonly #changes = new Map<string, PolicyChange>();
  #lines = 0;
  #used = 0;

  take(line: string): void {
    if (line.trim() === "") return;
    this.#lines++;
    const record = RECORD.exec(line);
    if (record === null) {
      const denial = parseDenial(line);
      if (denial === undefined) return;
      this.#used++;
      this.#unnumbered.push({ ...denial, ...clockOf(line) });
      return;
    }
    const [, type, clock, serial] = record as unknown as [string, string, string, string];
    const interpreted = !/^\d+\.\d+$/.test(clock);
    if (!interpreted) this.#change(type, line, Number(clock), serial);
    const companion = companionType(type);
    const denial = companion === undefined ? parseDenial(line, interpreted) : undefined;
    if (denial === undefined && companion === undefined) return;
    const event = this.#event(`${clock}:${serial}`);
    if (companion !== undefined) {
      event.lines++;
      if (companion === "paths") event.paths.push(line);
      else event[companion] = line;
    } else if (denial !== undefined) {
      this.#used++;
      const when = interpreted ? { clock } : { time: Number(clock) };
      event.denials.push({ ...denial, serial: Number(serial), ...when });
    }
  }

  /** Everything that was found, in the order of the input. */
  end(): AvcLog {
    for (const event of this.#events.values()) this.#close(event);
    this.#events.clear();
    const numbered = new Map<string, number>();
    for (const denial of this.#denials) {
      const words = wordsOf(denial);
      numbered.set(words, (numbered.get(words) ?? 0) + 1);
    }
    const more = this.#unnumbered.filter((denial) => {
      const left = numbered.get(wordsOf(denial)) ?? 0;
      numbered.set(wordsOf(denial), left - 1);
      return left <= 0;
    });
    return {
      denials: [...this.#denials, ...more],
      changes: [...this.#changes.values()].sort((a, b) => a.time - b.time),
      lines: this.#lines,
      skipped: this.#lines - this.#used,
    };
  }

  #event(key: string): Event {
    const known = this.#events.get(key);
    if (known !== undefined) return known;
    const event: Event = { paths: [], lines: 0, denials: [] };
    this.#events.set(key, event);
    if (this.#events.size > OPEN_EVENTS) {
      const [oldest, first] = this.#events.entries().next().value!;
      this.#events.delete(oldest);
      this.#close(first);
    }
    return event;
  }

  #close(event: Event): void {
    if (event.denials.length === 0) return;
    this.#used += event.lines;
    for (const denial of event.denials) {
      // auditd's log and the kernel's may both have it: the second one tells nothing new.
      const key = JSON.stringify(denial);
      if (this.#seen.has(key)) continue;
      this.#seen.add(key);
      this.#denials.push({ ...denial, ...companionsOf(event, denial) });
    }
  }

  #change(type: string, line: string, time: number, serial: string): void {
    const name = fieldOf(line, "bool");
    if (LOADED.includes(type)) this.#changes.set(`${time}:${serial}`, { time });
    if (!SWITCHED.includes(type) || name === undefined) return;
    const [from, to] = [fieldOf(line, "old_val") === "1", fieldOf(line, "val") === "1"];
    this.#changes.set(`${time}:${serial}:${name}`, { time, boolean: { name, from, to } });
  }
}

/** What tells one denial from another, whoever wrote it down. */
function wordsOf(
  { denied, scontext, tcontext, tclass, pid, comm, path, name, ino }: Denial,
): string {
  return JSON.stringify([denied, scontext, tcontext, tclass, pid, comm, path, name, ino]);
}

/** `2026-11-21T16:45:43+01:00 host audit[303]: AVC avc: ...`, or the same as syslog writes it. */
function clockOf(line: string): Pick<SeenDenial, "time" | "clock"> {
  const iso = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)/.exec(line)?.[0];
  if (iso !== undefined) {
    const time = Date.parse(iso.replace(",", ".").replace(/([+-]\d\d)(\d\d)$/, "$1:$2")) / 1000;
    if (!Number.isNaN(time)) return { time };
  }
  const clock = /^[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d(?:\.\d+)?(?= )/.exec(line)?.[0];
  return clock === undefined ? {} : { clock };
}
