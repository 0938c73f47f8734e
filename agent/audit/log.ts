import { resolve } from "node:path";
import { SystemError } from "../../ffi/errno.ts";
import * as libc from "../../ffi/libc.ts";
import type { Identity, OwnedFd } from "../owned_fd.ts";
import { AuditError } from "./audit_error.ts";
import { follow } from "./chain.ts";
import type { AuditEvent, FindingEvent } from "./event.ts";
import { openLogFile, requireInPlace } from "./file.ts";
import { lines } from "./lines.ts";
import { lockForWriting } from "./lock.ts";
import { type AuditRecord, EMPTY, type Head, MAX_LINE, seal, text } from "./record.ts";
import { isFull, keepReserve, spendReserve } from "./reserve.ts";
import { emptyState, fold, type State } from "./state.ts";

/** What the log does to its file; tests put a full or broken disk in its place. */
export type Disk = Pick<typeof libc, "pwrite" | "fdatasync" | "ftruncate">;

/** How a log is opened. */
export interface AuditLogOptions {
  readonly disk?: Disk;
  readonly now?: () => Date;
}

/** How records are appended. */
export interface AppendOptions {
  /** Takes something away from a guest: may use up the reserve of a full disk. Default false. */
  readonly revocation?: boolean;
}

/** What {@linkcode AuditLog.transact} is to record and to return. */
export interface Decision<T> {
  readonly events: readonly AuditEvent[];
  readonly result: T;
}

/**
 * The audit log, which is also the journal: nothing is granted unless its record is on the disk.
 *
 * Several processes may have one log open. Each append locks it, takes in what the others appended,
 * and is on the disk when it returns; a decision made in {@linkcode AuditLog.transact} therefore
 * cannot be overtaken. All of it is synchronous and blocks the thread for about one fdatasync.
 */
export class AuditLog implements Disposable {
  readonly #fd: OwnedFd;
  readonly #identity: Identity;
  readonly #disk: Disk;
  readonly #now: () => Date;
  readonly #state: State = emptyState();
  #head: Head = EMPTY;
  /** Bytes of the file that `#head` and `#state` stand for. */
  #size = 0;
  #hasReserve = false;
  #busy = false;

  /** Takes ownership of `fd`. */
  private constructor(fd: OwnedFd, { disk = libc, now = () => new Date() }: AuditLogOptions) {
    this.#fd = fd;
    this.#identity = fd.identity;
    this.#disk = disk;
    this.#now = now;
  }

  /**
   * Opens a log, or creates one with mode 0600 in a folder that exists, and checks all of it.
   *
   * An incomplete last line, left by a crash, is cut off and recorded as the finding
   * `audit-torn-tail`: nothing was granted on it.
   *
   * @throws {@linkcode SystemError} when it cannot be opened, locked or written.
   * @throws {@linkcode AuditError} `not-a-log` for anything but a regular file; `broken` when a
   * record is not as it was written, which is never repaired silently.
   */
  static open(path: string, options: AuditLogOptions = {}): AuditLog {
    const log = new AuditLog(openLogFile(resolve(path)), options);
    try {
      log.#locked(() => {
        log.#catchUp({});
        log.#hasReserve = keepReserve(log.path);
      });
      return log;
    } catch (error) {
      log[Symbol.dispose]();
      throw error;
    }
  }

  /** Absolute. */
  get path(): string {
    return this.#fd.path;
  }

  /** As of the last append; only in {@linkcode AuditLog.transact} is it sure to be so now. */
  get state(): State {
    return this.#state;
  }

  /** The record is on the disk when this returns. Throws like {@linkcode AuditLog.transact}. */
  append(event: AuditEvent, options: AppendOptions = {}): AuditRecord {
    return this.#locked(() => {
      this.#catchUp(options);
      return this.#write([event], options)[0]!;
    });
  }

  /**
   * Decides and records as one step that no other process can come between.
   *
   * @param decide Sees the state as it is now; must not use a log itself. When it throws, nothing
   * is recorded.
   * @returns The decision's result, once all its events are on the disk.
   * @throws {@linkcode SystemError} when they could not be recorded: then none of them is, and the
   * decision must not be carried out. `EAGAIN` when another process held the lock for 5 s.
   * @throws {@linkcode AuditError} `broken` or `replaced`, before `decide` is called.
   */
  transact<T>(decide: (state: State) => Decision<T>, options: AppendOptions = {}): T {
    return this.#locked(() => {
      this.#catchUp(options);
      const { events, result } = decide(this.#state);
      this.#write(events, options);
      return result;
    });
  }

  /** Closes the file; a second call does nothing. */
  [Symbol.dispose](): void {
    this.#fd[Symbol.dispose]();
  }

  #locked<T>(work: () => T): T {
    if (this.#busy) throw new TypeError("Cannot use the audit log while it decides");
    using _lock = lockForWriting(this.#fd, this.#lastAgent());
    this.#busy = true;
    try {
      return work();
    } finally {
      this.#busy = false;
    }
  }

  #lastAgent(): string {
    const start = this.#state.agentStart;
    if (start === undefined) return "no agent has recorded its start";
    return `the agent that started last is pid ${start.pid}, ${start.runtime}, ${start.time}`;
  }

  /** Takes in what was appended since, by whomever. */
  #catchUp(options: AppendOptions): void {
    const { size } = requireInPlace(this.path, this.#identity);
    if (size === BigInt(this.#size)) return;
    if (size < BigInt(this.#size)) {
      throw this.#broken(this.#head.seq + 1, "was cut off while in use");
    }
    const read = (buffer: Uint8Array, offset: number) =>
      libc.pread(this.#fd.number, buffer, offset);
    for (const { bytes, offset, complete } of lines(read, MAX_LINE, { start: this.#size })) {
      if (!complete && bytes.length <= MAX_LINE) {
        const finding = tornTail(bytes, offset);
        this.#disk.ftruncate(this.#fd.number, offset);
        this.#write([finding], options);
        return;
      }
      const next = follow(bytes, this.#head);
      if ("problem" in next) {
        throw this.#broken(this.#head.seq + 2, `is broken: ${next.problem.problem}`);
      }
      this.#take(next.record, bytes.length + 1);
    }
  }

  #broken(line: number, what: string): AuditError {
    const command = `svirt-agent audit verify ${this.path}`;
    return new AuditError(
      "broken",
      this.path,
      `line ${line}: the log ${what} (see: ${command})`,
      "Nothing is granted until an administrator has moved the log away or put a backup in its " +
        "place.",
    );
  }

  #take(record: AuditRecord, bytes: number): void {
    fold(this.#state, record);
    this.#head = record;
    this.#size += bytes;
  }

  #write(events: readonly AuditEvent[], { revocation = false }: AppendOptions): AuditRecord[] {
    if (events.length === 0) return [];
    const records: AuditRecord[] = [];
    for (const event of events) {
      records.push(seal(event, records.at(-1) ?? this.#head, this.#now()));
    }
    // Space that has come back belongs to the next revocations before it does to grants.
    if (!this.#hasReserve && !revocation) this.#hasReserve = keepReserve(this.path);
    const encoded = records.map((record) => Buffer.from(`${text(record)}\n`));
    this.#put(Buffer.concat(encoded), revocation);
    records.forEach((record, i) => this.#take(record, encoded[i]!.length));
    return records;
  }

  #put(bytes: Uint8Array, revocation: boolean): void {
    try {
      this.#store(bytes);
    } catch (error) {
      if (!revocation || !isFull(error) || !spendReserve(this.path)) throw error;
      this.#hasReserve = false;
      this.#store(bytes);
    }
  }

  /** One write, one fdatasync; when either fails, the file is as before as far as the disk lets us. */
  #store(bytes: Uint8Array): void {
    const fd = this.#fd.number;
    try {
      this.#disk.pwrite(fd, bytes, this.#size);
      this.#disk.fdatasync(fd);
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      try {
        this.#disk.ftruncate(fd, this.#size);
      } catch {
        // What stands there now is taken in, or cut off, by whoever locks the log next.
      }
      throw new SystemError(error.operation, error.errno, {
        path: this.path,
        hint: isFull(error)
          ? "The audit log has no space, so nothing was granted. Make some and try again."
          : "The audit log cannot be written, so nothing was granted. Look at the disk: dmesg",
      });
    }
  }
}

function tornTail(bytes: Uint8Array, offset: number): FindingEvent {
  const excerpt = new TextDecoder().decode(bytes.subarray(0, 160));
  return {
    event: "finding",
    id: "audit-torn-tail",
    severity: "low",
    text: "The last line of the audit log was incomplete and has been cut off: the agent or the " +
      "host stopped while it was written. Nothing was granted on it.",
    evidence: { bytes: bytes.length, offset, excerpt },
    hint: "Look for a crash at that time: journalctl -k, coredumpctl",
  };
}
