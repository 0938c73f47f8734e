/** Where a command prints: what was asked for on stdout, everything about it on stderr. */
export interface Terminal {
  out(line: string): void;
  err(line: string): void;
  /** Empties the screen, where stdout is one. */
  clear?(): void;
}

/** The process's own streams. */
export const terminal: Terminal = {
  out: (line) => process.stdout.write(`${line}\n`),
  err: (line) => process.stderr.write(`${line}\n`),
  clear: () => {
    if (process.stdout.isTTY) process.stdout.write("\x1b[2J\x1b[H");
  },
};

/** Columns, each as wide as its widest cell. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]?.map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0))) ?? [];
  return rows.map((row) => row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join("  ").trimEnd());
}
