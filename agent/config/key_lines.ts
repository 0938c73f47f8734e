/**
 * Says on which line a key of a TOML file stands: the parser tells that of syntax errors alone.
 *
 * @module
 */

/**
 * Line of a key, `image[0].format`; where that has none of its own, of the table or array that it
 * is in. From 1; `undefined` when that is the whole file.
 */
export type KeyLines = (key: string) => number | undefined;

/** A bare, a quoted or a literal key. */
const PART = String.raw`(?:[\w-]+|"(?:[^"\\]|\\.)*"|'[^']*')`;
const DOTTED = String.raw`${PART}(?:\s*\.\s*${PART})*`;
const ARRAY_HEADER = new RegExp(String.raw`^\s*\[\[\s*(${DOTTED})\s*\]\]`);
const TABLE_HEADER = new RegExp(String.raw`^\s*\[\s*(${DOTTED})\s*\]`);
const KEY = new RegExp(String.raw`^\s*(${DOTTED})\s*=`);

/** @param text Of a file that is TOML: nothing is checked here. */
export function keyLines(text: string): KeyLines {
  let lines: ReadonlyMap<string, number> | undefined;
  // A file without mistakes is not scanned.
  return (key) => nearest(lines ??= scan(text), key);
}

function nearest(lines: ReadonlyMap<string, number>, key: string): number | undefined {
  for (let path = key; path !== ""; path = parentOf(path)) {
    const line = lines.get(path);
    if (line !== undefined) return line;
  }
  return undefined;
}

/** `a[0].b` of `a[0].b."c.d"`, `a` of `a[0]`; empty when there is none. */
function parentOf(path: string): string {
  return path.replace(/(?:\[\d+\]|\.?(?:[\w-]+|"(?:[^"\\]|\\.)*"))$/, "");
}

function scan(text: string): ReadonlyMap<string, number> {
  const lines = new Map<string, number>();
  const counts = new Map<string, number>();
  const add = (path: string, line: number) => {
    if (!lines.has(path)) lines.set(path, line);
  };
  let table = "";
  let open: Open = { quote: undefined, depth: 0 };
  for (const [i, line] of text.split("\n").entries()) {
    if (open.quote === undefined && open.depth === 0) {
      const array = ARRAY_HEADER.exec(line)?.[1];
      const header = TABLE_HEADER.exec(line)?.[1];
      if (array !== undefined) {
        const path = pathOf("", array, counts);
        const count = counts.get(path) ?? 0;
        counts.set(path, count + 1);
        add(path, i + 1);
        add(table = `${path}[${count}]`, i + 1);
        continue;
      }
      if (header !== undefined) {
        add(table = pathOf("", header, counts, true), i + 1);
        continue;
      }
      const key = KEY.exec(line)?.[1];
      if (key !== undefined) add(pathOf(table, key, new Map()), i + 1);
    }
    open = after(line, open);
  }
  return lines;
}

/**
 * The path of a dotted key, as messages have it.
 *
 * @param counts Elements so far of arrays of tables: the last one is meant where a key goes through.
 * @param whole Also where the key ends in one.
 */
function pathOf(
  table: string,
  dotted: string,
  counts: ReadonlyMap<string, number>,
  whole = false,
): string {
  const parts = dotted.match(new RegExp(PART, "g")) ?? [];
  let path = table;
  for (const [i, part] of parts.entries()) {
    const name = nameOf(part);
    const shown = /^[\w-]+$/.test(name) ? name : JSON.stringify(name);
    path = path === "" ? shown : `${path}.${shown}`;
    const count = counts.get(path);
    if (count !== undefined && (whole || i < parts.length - 1)) path = `${path}[${count - 1}]`;
  }
  return path;
}

function nameOf(part: string): string {
  if (part.startsWith("'")) return part.slice(1, -1);
  if (!part.startsWith('"')) return part;
  try {
    return JSON.parse(part) as string;
  } catch {
    return part; // an escape that only TOML has: no key that anybody knows
  }
}

/** What is still open at the end of a line: a string of several lines, brackets of an array. */
interface Open {
  readonly quote: '"""' | "'''" | undefined;
  readonly depth: number;
}

/** Strings of several lines begin and end; others, and comments, are over at the end of the line. */
const TOKEN = /"""|'''|"(?:[^"\\]|\\.)*"|'[^']*'|#.*|[[\]]/g;

function after(line: string, { quote, depth }: Open): Open {
  let at = 0;
  while (at < line.length) {
    if (quote !== undefined) {
      const end = endOf(line, quote, at);
      if (end < 0) return { quote, depth };
      at = end;
      quote = undefined;
      continue;
    }
    TOKEN.lastIndex = at;
    const token = TOKEN.exec(line)?.[0];
    if (token === undefined) break;
    at = TOKEN.lastIndex;
    if (token === '"""' || token === "'''") quote = token;
    else if (token === "[") depth++;
    else if (token === "]") depth--;
  }
  return { quote, depth };
}

/** Behind the closing quotes; a backslash escapes in `"""` alone. -1 when they are on a later line. */
function endOf(line: string, quote: '"""' | "'''", from: number): number {
  for (let at = from; at < line.length; at++) {
    if (quote === '"""' && line[at] === "\\") at++;
    else if (line.startsWith(quote, at)) return at + quote.length;
  }
  return -1;
}
