import type { PolicyDb } from "./policydb.ts";
import { ENABLED, type Step } from "./rules.ts";

/** Values of booleans by name; those that are not named are as the policy has them. */
export type BooleanValues = Readonly<Record<string, boolean>>;

/**
 * The same policy, as it would be written with these values of booleans: libsepol answers for the
 * values that a file has, and setting them through its own functions takes another copy of the
 * policy in memory that nothing gives back.
 *
 * @param bytes What `db` was read from; not changed.
 * @throws `RangeError` for a boolean that the policy does not have.
 */
export function withBooleans(
  bytes: Uint8Array,
  db: PolicyDb,
  booleans: BooleanValues,
): Uint8Array {
  const holds = valuesOf(db, booleans);
  const image = new Uint8Array(bytes); // not slice: that of a Buffer is no copy
  const view = new DataView(image.buffer);
  for (const { value, offset } of db.booleans) view.setUint32(offset, Number(holds(value)), true);
  const truth = db.conditionals.map(({ expression }) => evaluate(expression, holds));
  for (const [index, { offset }] of db.conditionals.entries()) {
    view.setUint32(offset, Number(truth[index]), true);
  }
  const { rules } = db;
  for (let rule = db.firstConditionalRule; rule < rules.length; rule++) {
    const enabled = truth[rules.conditional[rule]!] === (rules.branch[rule] === 1);
    view.setUint16(rules.offset[rule]!, rules.kind[rule]! | (enabled ? ENABLED : 0), true);
  }
  return image;
}

/**
 * Are these the values that the policy has anyway?
 *
 * @throws `RangeError` for a boolean that the policy does not have.
 */
export function keepsValues(db: PolicyDb, booleans: BooleanValues): boolean {
  const holds = valuesOf(db, booleans);
  return db.booleans.every(({ value, on }) => holds(value) === on);
}

/** Value of each boolean by its number, with some of them set. */
export function valuesOf(db: PolicyDb, booleans: BooleanValues): (value: number) => boolean {
  const byNumber = new Map(db.booleans.map(({ value, on }) => [value, on]));
  for (const [name, on] of Object.entries(booleans)) {
    const boolean = db.booleans.find((it) => it.name === name);
    if (boolean === undefined) throw new RangeError(`The policy has no boolean "${name}"`);
    byNumber.set(boolean.value, on);
  }
  return (value) => byNumber.get(value) ?? false;
}

/** Is the expression true? */
export function evaluate(expression: readonly Step[], holds: (value: number) => boolean): boolean {
  const stack: boolean[] = [];
  for (const { operator, boolean } of expression) {
    if (operator === "boolean") {
      stack.push(holds(boolean));
      continue;
    }
    const right = stack.pop() ?? false;
    if (operator === "not") {
      stack.push(!right);
      continue;
    }
    const left = stack.pop() ?? false;
    stack.push(OPERATIONS[operator](left, right));
  }
  return stack[0] ?? false;
}

const OPERATIONS = {
  or: (left: boolean, right: boolean) => left || right,
  and: (left: boolean, right: boolean) => left && right,
  xor: (left: boolean, right: boolean) => left !== right,
  neq: (left: boolean, right: boolean) => left !== right,
  eq: (left: boolean, right: boolean) => left === right,
};
