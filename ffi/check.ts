/**
 * The wall in front of koffi, which checks little itself: a NUL byte cuts a path short
 * (`"/etc/passwd\0.img"` would open /etc/passwd), a number given for a string is taken as an
 * address, 2**32 + 5 becomes 5, and NaN becomes 0. The C prototype is the rule: each argument is
 * checked against the type that the man page gives its parameter.
 *
 * @module
 */

import type { LibraryHandle } from "koffi";

type Check = (value: unknown) => void;

/** Of an integer parameter; both ends are in it. */
type Range = readonly [min: bigint, max: bigint];

const INTEGERS: Readonly<Record<string, Range>> = {
  int: [-(2n ** 31n), 2n ** 31n - 1n],
  "unsigned int": [0n, 2n ** 32n - 1n],
  uint32_t: [0n, 2n ** 32n - 1n],
  uint16_t: [0n, 2n ** 16n - 1n],
  long: [-(2n ** 63n), 2n ** 63n - 1n],
  int64_t: [-(2n ** 63n), 2n ** 63n - 1n],
  uint64_t: [0n, 2n ** 64n - 1n],
  "unsigned long": [0n, 2n ** 64n - 1n],
  size_t: [0n, 2n ** 64n - 1n],
};

/**
 * Binds a C function and checks every argument before the call.
 *
 * @param prototype As the man page has it, plus koffi's `_Out_`. A variadic function (`...`) takes
 * pairs of type name and value after its named arguments, and they are checked alike.
 * @returns A function that throws `TypeError` or `RangeError` instead of calling C with an argument
 * that C would misread.
 */
// deno-lint-ignore no-explicit-any -- each library's interface says what its functions take and return
export function bind(library: LibraryHandle, prototype: string): (...args: any[]) => any {
  const call = library.func(prototype);
  const { name, checks, variadic } = read(prototype);
  const typed = new Map<string, Check>();
  const checkTyped = (type: string, value: unknown) => {
    let check = typed.get(type);
    if (check === undefined) typed.set(type, check = checkFor(name, type));
    check(value);
  };
  return (...args: unknown[]) => {
    if (variadic ? args.length < checks.length : args.length !== checks.length) {
      throw new TypeError(`Cannot call ${name}: ${args.length} arguments, ${checks.length} wanted`);
    }
    for (let i = 0; i < checks.length; i++) checks[i]!(args[i]);
    for (let i = checks.length; i < args.length; i += 2) {
      checkTyped(String(args[i]), args[i + 1]);
    }
    return call(...args);
  };
}

/** The parts of a prototype that decide what may be passed. */
function read(prototype: string): { name: string; checks: Check[]; variadic: boolean } {
  const match = /^(.+?)(\w+)\((.*)\)$/.exec(prototype);
  if (match === null) throw new SyntaxError(`Cannot read prototype "${prototype}"`);
  const [, , name, list] = match as unknown as [string, string, string, string];
  const parameters = list.split(",").map((text) => text.trim()).filter((text) => text !== "void");
  const variadic = parameters.at(-1) === "...";
  if (variadic) parameters.pop();
  const checks = parameters.map((text) => checkFor(name, text.replace(/\s*\b\w+$/, "")));
  return { name, checks, variadic };
}

function checkFor(name: string, type: string): Check {
  const bare = type.replace(/^const /, "").trim();
  if (bare === "char *" || bare === "str") return (value) => checkString(name, value);
  if (bare === "char **") return (value) => checkStrings(name, value);
  const range = INTEGERS[bare];
  if (range !== undefined) return integerCheck(name, bare, range);
  if (bare.endsWith("*")) return (value) => checkPointer(name, bare, value);
  throw new SyntaxError(`Cannot check type "${type}" of ${name}: add it to ffi/check.ts`);
}

function checkString(name: string, value: unknown): void {
  if (value === null) return;
  if (typeof value !== "string") throw new TypeError(`Cannot call ${name}: not a string`);
  if (value.includes("\0")) {
    throw new TypeError(`Cannot call ${name} with ${JSON.stringify(value)}: it holds a NUL byte`);
  }
}

/** A list that ends in null, argv of execve(2). */
function checkStrings(name: string, value: unknown): void {
  if (!Array.isArray(value) || value.at(-1) !== null) {
    throw new TypeError(`Cannot call ${name}: not a list of strings that ends in null`);
  }
  for (const one of value) checkString(name, one);
}

/** Numbers are compared as such: a call would otherwise make a bigint of each. */
function integerCheck(name: string, type: string, [min, max]: Range): Check {
  const low = Number(min), high = Number(max);
  return (value) => {
    if (typeof value === "bigint") {
      if (value >= min && value <= max) return;
    } else if (!Number.isSafeInteger(value)) {
      throw new TypeError(`Cannot call ${name}: ${String(value)} is no integer`);
    } else if ((value as number) >= low && (value as number) <= high) return;
    throw new RangeError(`Cannot call ${name}: ${String(value)} is no ${type}`);
  };
}

function checkPointer(name: string, type: string, value: unknown): void {
  if (typeof value === "number" || typeof value === "string") {
    throw new TypeError(`Cannot call ${name}: ${typeof value} for ${type}`);
  }
}
