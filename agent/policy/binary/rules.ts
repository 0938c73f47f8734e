import type { Cursor } from "./cursor.ts";

/** AVTAB_ALLOWED, AVTAB_AUDITALLOW, AVTAB_AUDITDENY; <sepol/policydb/avtab.h>. */
export const ALLOWED = 1;
/** Its bits are those that *are* audited: a cleared one is a `dontaudit`. */
export const AUDITDENY = 4;
/** AVTAB_ENABLED: the branch that a conditional rule stands in holds. */
export const ENABLED = 0x8000;
/** AVTAB_XPERMS_ALLOWED */
export const EXTENDED_ALLOWED = 0x0100;
/** Any of AVTAB_XPERMS_*: its rule has 256 bits of ioctl numbers. */
const XPERMS = 0x0700;
const XPERMS_BYTES = 34;
/** The shortest: source, target, class and kind are u16, the data is u32. */
const RULE_BYTES = 12;

/**
 * Access vector rules, in columns: a policy has some hundred thousand. A source or target may be an
 * attribute.
 */
export interface RuleTable {
  readonly length: number;
  readonly source: Uint16Array;
  readonly target: Uint16Array;
  readonly tclass: Uint16Array;
  /** {@linkcode ALLOWED} and the like, without {@linkcode ENABLED}. */
  readonly kind: Uint16Array;
  /** Where the file has that: a u16. */
  readonly offset: Uint32Array;
  /** One bit for each permission; of rules about types, not about permissions, the new type. */
  readonly data: Uint32Array;
  /** Index of the conditional that it stands in; -1 for a rule that always holds. */
  readonly conditional: Int32Array;
  /** Which branch of that: 1 holds while the expression is true, 0 while it is not. */
  readonly branch: Uint8Array;
  /** Of rules about ioctl(2) commands, what the file has for {@linkcode data}. */
  readonly extended: ReadonlyMap<number, Uint8Array>;
}

/** One step of a boolean expression, which is in reverse Polish notation. */
export interface Step {
  readonly operator: "boolean" | "not" | "or" | "and" | "xor" | "eq" | "neq";
  /** Value of the boolean, for that operator. */
  readonly boolean: number;
}

/** `if (EXPRESSION) { ... } else { ... }` */
export interface Conditional {
  readonly expression: readonly Step[];
  /** Where the file says whether it is true: a u32. */
  readonly offset: number;
}

/** COND_BOOL and on; <sepol/policydb/conditional.h>. */
const OPERATORS = [undefined, "boolean", "not", "or", "and", "xor", "eq", "neq"] as const;

/** Reads the rules that always hold, and the conditional ones behind them. */
export function readRules(
  cursor: Cursor,
): { readonly rules: RuleTable; readonly conditionals: readonly Conditional[] } {
  const columns = new Columns(1 << 16);
  columns.read(cursor, -1, 0);
  const conditionals: Conditional[] = [];
  for (let count = cursor.u32(); count > 0; count--) {
    const offset = cursor.at;
    cursor.u32();
    const expression = Array.from({ length: cursor.u32() }, () => readStep(cursor));
    const index = conditionals.push({ expression, offset }) - 1;
    columns.read(cursor, index, 1);
    columns.read(cursor, index, 0);
  }
  return { rules: columns, conditionals };
}

function readStep(cursor: Cursor): Step {
  const [type, boolean] = cursor.u32s(2) as [number, number];
  const operator = OPERATORS[type];
  if (operator === undefined) cursor.fail(`operator ${type} in a boolean expression`);
  return { operator, boolean };
}

class Columns implements RuleTable {
  length = 0;
  source!: Uint16Array;
  target!: Uint16Array;
  tclass!: Uint16Array;
  kind!: Uint16Array;
  offset!: Uint32Array;
  data!: Uint32Array;
  conditional!: Int32Array;
  branch!: Uint8Array;
  readonly extended = new Map<number, Uint8Array>();

  constructor(capacity: number) {
    this.#grow(capacity);
  }

  /** Appends one list of rules, which begins with its length. */
  read(cursor: Cursor, conditional: number, branch: 0 | 1): void {
    const count = cursor.count(RULE_BYTES);
    const end = this.length + count;
    this.#grow(end);
    for (let at = this.length; at < end; at++) {
      this.source[at] = cursor.u16();
      this.target[at] = cursor.u16();
      this.tclass[at] = cursor.u16();
      this.offset[at] = cursor.at;
      const kind = this.kind[at] = cursor.u16() & ~ENABLED;
      if ((kind & XPERMS) !== 0) this.extended.set(at, cursor.bytes(XPERMS_BYTES));
      else this.data[at] = cursor.u32();
      this.conditional[at] = conditional;
      this.branch[at] = branch;
    }
    this.length = end;
  }

  #grow(needed: number): void {
    const capacity = this.source?.length ?? 0;
    if (needed <= capacity) return;
    const size = Math.max(needed, 2 * capacity);
    this.source = grown(new Uint16Array(size), this.source);
    this.target = grown(new Uint16Array(size), this.target);
    this.tclass = grown(new Uint16Array(size), this.tclass);
    this.kind = grown(new Uint16Array(size), this.kind);
    this.offset = grown(new Uint32Array(size), this.offset);
    this.data = grown(new Uint32Array(size), this.data);
    this.conditional = grown(new Int32Array(size), this.conditional);
    this.branch = grown(new Uint8Array(size), this.branch);
  }
}

function grown<T extends { set(from: ArrayLike<number>): void }>(
  larger: T,
  old: ArrayLike<number> | undefined,
): T {
  if (old !== undefined) larger.set(old);
  return larger;
}
