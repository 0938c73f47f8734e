import { Cursor } from "./cursor.ts";

/** `constrain` or `mlsconstrain`: what has to hold for permissions of a class. */
export interface Constraint {
  /** One bit for each. */
  readonly permissions: number;
  /** In reverse Polish notation. */
  readonly expression: readonly ConstraintStep[];
}

/** struct constraint_expr; <sepol/policydb/constraint.h> has the numbers. */
export interface ConstraintStep {
  readonly type: number;
  readonly attribute: number;
  readonly operator: number;
  /** Values of types, roles or users, for {@linkcode CEXPR_NAMES}. */
  readonly names: readonly number[];
}

/** An expression of this type compares with names; the other types have none. */
export const CEXPR_NAMES = 5;
/** What is compared with them; {@linkcode CEXPR_TARGET} says whose. */
export const CEXPR_USER = 1;
export const CEXPR_ROLE = 2;
export const CEXPR_TYPE = 4;
export const CEXPR_TARGET = 8;
/** Since which version expressions also keep the names that were written. */
const CONSTRAINT_NAMES = 29;

/** Constraints of one class. They name thousands of types, so that they are read when they are needed. */
export class Constraints {
  readonly #bytes: Uint8Array;
  readonly #count: number;
  readonly #version: number;
  #read: readonly Constraint[] | undefined;

  /** @param cursor Stands before them, and then behind them. */
  constructor(cursor: Cursor, count: number, version: number) {
    const start = cursor.at;
    for (let left = count; left > 0; left--) {
      cursor.u32();
      for (let steps = cursor.u32(); steps > 0; steps--) skipStep(cursor, version);
    }
    const length = cursor.at - start;
    cursor.at = start;
    this.#bytes = cursor.bytes(length);
    this.#count = count;
    this.#version = version;
  }

  get all(): readonly Constraint[] {
    return this.#read ??= this.#readAll();
  }

  #readAll(): Constraint[] {
    const cursor = new Cursor(this.#bytes);
    return Array.from({ length: this.#count }, () => ({
      permissions: cursor.u32(),
      expression: Array.from({ length: cursor.u32() }, () => readStep(cursor, this.#version)),
    }));
  }
}

function readStep(cursor: Cursor, version: number): ConstraintStep {
  const start = cursor.at;
  const [type, attribute, operator] = cursor.u32s(3) as [number, number, number];
  const names = type === CEXPR_NAMES ? cursor.bitmap() : [];
  cursor.at = start;
  skipStep(cursor, version);
  return { type, attribute, operator, names };
}

function skipStep(cursor: Cursor, version: number): void {
  const type = cursor.u32();
  cursor.skip(8);
  if (type !== CEXPR_NAMES) return;
  cursor.skipBitmap();
  if (version < CONSTRAINT_NAMES) return;
  cursor.skipBitmap();
  cursor.skipBitmap();
  cursor.skip(4);
}
