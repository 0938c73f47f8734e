import { type Cursor, PolicyFormatError } from "./cursor.ts";

/** What happens to a class or permission that the kernel knows and the policy does not. */
export type HandleUnknown = "deny" | "reject" | "allow";

export interface Header {
  /** 33 in `policy.33`. */
  readonly version: number;
  readonly mls: boolean;
  readonly handleUnknown: HandleUnknown;
  /** Numbers of types to which nothing is denied. */
  readonly permissive: ReadonlySet<number>;
}

/** POLICYDB_MAGIC; <sepol/policydb/policydb.h>. Modules and packages have others. */
const MAGIC = 0xf97cff8c;
const NAME = "SE Linux";
const CONFIG_MLS = 1;
const CONFIG_REJECT_UNKNOWN = 2;
const CONFIG_ALLOW_UNKNOWN = 4;
/** The oldest that keeps names of attributes and bounds: Linux 2.6.28. */
const OLDEST = 24;
/** The newest whose format is known here. */
const NEWEST = 35;
/** Brings types that are never audited. */
const NEVERAUDIT = 35;
const SYMBOL_TABLES = 8;

/** Reads what stands before the symbols. */
export function readHeader(cursor: Cursor): Header & { readonly contextTables: number } {
  if (cursor.u32() !== MAGIC || cursor.name(cursor.u32()) !== NAME) {
    throw new PolicyFormatError("It does not begin as a binary policy does");
  }
  const [version, config, tables, contextTables] = cursor.u32s(4) as [
    number,
    number,
    number,
    number,
  ];
  if (version < OLDEST || version > NEWEST) {
    throw new PolicyFormatError(`Version ${version}; ${OLDEST} to ${NEWEST} can be read`);
  }
  if (tables !== SYMBOL_TABLES) cursor.fail(`${tables} tables of symbols`);
  cursor.skipBitmap(); // capabilities
  // Bit n of this one is type n, not n + 1.
  const permissive = new Set(cursor.bitmap().map((value) => value - 1));
  if (version >= NEVERAUDIT) cursor.skipBitmap();
  return {
    version,
    mls: (config & CONFIG_MLS) !== 0,
    handleUnknown: (config & CONFIG_REJECT_UNKNOWN) !== 0
      ? "reject"
      : (config & CONFIG_ALLOW_UNKNOWN) !== 0
      ? "allow"
      : "deny",
    permissive,
    contextTables,
  };
}
