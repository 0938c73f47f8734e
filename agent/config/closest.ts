/**
 * The word that was probably meant: the one with the fewest letters to insert, delete, replace or
 * swap (Damerau-Levenshtein distance), if those are at most a third of the word.
 */
export function closest(word: string, known: readonly string[]): string | undefined {
  const ranked = known
    .map((other) => ({ other, steps: distance(word.toLowerCase(), other.toLowerCase()) }))
    .filter(({ other, steps }) => steps <= Math.max(1, Math.floor(other.length / 3)))
    .sort((a, b) => a.steps - b.steps);
  return ranked[0]?.other;
}

function distance(a: string, b: string): number {
  // Nothing that long was meant; the table below grows with the square.
  if (Math.max(a.length, b.length) > 64) return Infinity;
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i], above = rows[i - 1]!;
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      let steps = Math.min(above[j]! + 1, row[j - 1]! + 1, above[j - 1]! + same);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        steps = Math.min(steps, rows[i - 2]![j - 2]! + 1);
      }
      row.push(steps);
    }
    rows.push(row);
  }
  return rows[a.length]![b.length]!;
}
