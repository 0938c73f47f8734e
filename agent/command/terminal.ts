import { EXIT } from "./exit.ts";

/** Where a command prints: what was asked for on stdout, everything about it on stderr. */
export interface Terminal {
  out(line: string): void;
  err(line: string): void;
  /** Empties the screen, where stdout is one. */
  clear?(): void;
  /** Resolves when nobody reads stdout any more; a command that never ends by itself ends then. */
  readonly closed?: Promise<void>;
}

const closed = Promise.withResolvers<void>();
const heard = new WeakSet<object>();

/**
 * A stream of the process. A reader that has seen enough (`| head`) ends nothing: whoever guards a
 * guest goes on, and a command's exit status is the one it has found out.
 */
function stream(name: "stdout" | "stderr"): NodeJS.WriteStream {
  const it = process[name];
  if (heard.has(it)) return it;
  heard.add(it);
  it.on("error", ({ code }: { code?: string }) => {
    if (name === "stdout") closed.resolve();
    // A full disk, for one: what was asked for is not all there.
    if (name === "stdout" && code !== "EPIPE") process.exitCode = EXIT.unknown;
  });
  return it;
}

/** The process's own streams. */
export const terminal: Terminal = {
  out: (line) => stream("stdout").write(`${line}\n`),
  err: (line) => stream("stderr").write(`${line}\n`),
  clear: () => {
    if (process.stdout.isTTY) process.stdout.write("\x1b[2J\x1b[H");
  },
  closed: closed.promise,
};

/** Columns, each as wide as its widest cell. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]?.map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0))) ?? [];
  return rows.map((row) => row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join("  ").trimEnd());
}
