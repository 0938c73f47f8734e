import type { Cursor } from "./cursor.ts";
import { skipMlsRange } from "./symbols.ts";

const ROLETRANS_CLASS = 26;
const FILENAME_TRANS = 25;
const COMPRESSED_FILENAME_TRANS = 33;

/** What one entry of each table of initial contexts has before its context; OCON_ISID and on. */
// deno-fmt-ignore
const CONTEXT_TABLES: readonly ((cursor: Cursor) => void)[] = [
  (cursor) => { cursor.u32(); skipContext(cursor); },                                         // initial SIDs
  (cursor) => { cursor.skip(cursor.u32()); skipContext(cursor); skipContext(cursor); },       // filesystems
  (cursor) => { cursor.u32s(3); skipContext(cursor); },                                       // ports
  (cursor) => { cursor.skip(cursor.u32()); skipContext(cursor); skipContext(cursor); },       // interfaces
  (cursor) => { cursor.u32s(2); skipContext(cursor); },                                       // nodes
  (cursor) => { cursor.u32(); cursor.skip(cursor.u32()); skipContext(cursor); },              // fs_use
  (cursor) => { cursor.u32s(8); skipContext(cursor); },                                       // IPv6 nodes
  (cursor) => { cursor.u32s(4); skipContext(cursor); },                                       // Infiniband keys
  (cursor) => { const [length] = cursor.u32s(2); cursor.skip(length!); skipContext(cursor); },// Infiniband ports
];

/** Goes past what stands between the rules and the attributes of types. */
export function skipToAttributes(cursor: Cursor, version: number, contextTables: number): void {
  repeat(cursor, () => cursor.u32s(version >= ROLETRANS_CLASS ? 4 : 3));
  repeat(cursor, () => cursor.u32s(2)); // role allow
  if (version >= COMPRESSED_FILENAME_TRANS) repeat(cursor, () => skipCompressed(cursor));
  else if (version >= FILENAME_TRANS) {
    repeat(cursor, () => {
      cursor.skip(cursor.u32());
      cursor.u32s(4);
    });
  }
  for (let table = 0; table < contextTables; table++) {
    const skip = CONTEXT_TABLES[table] ?? cursor.fail(`${contextTables} tables of contexts`);
    repeat(cursor, () => skip(cursor));
  }
  repeat(cursor, () => skipFilesystem(cursor));
  repeat(cursor, () => {
    cursor.u32s(3); // source, target, class
    skipMlsRange(cursor);
  });
}

function repeat(cursor: Cursor, read: () => unknown): void {
  for (let count = cursor.u32(); count > 0; count--) read();
}

function skipCompressed(cursor: Cursor): void {
  cursor.skip(cursor.u32());
  cursor.u32s(2); // target, class
  repeat(cursor, () => {
    cursor.skipBitmap();
    cursor.u32();
  });
}

/** genfscon */
function skipFilesystem(cursor: Cursor): void {
  cursor.skip(cursor.u32());
  repeat(cursor, () => {
    cursor.skip(cursor.u32());
    cursor.u32(); // class
    skipContext(cursor);
  });
}

/** User, role and type, then the range. */
function skipContext(cursor: Cursor): void {
  cursor.u32s(3);
  skipMlsRange(cursor);
}
