/** Deepest nesting of objects and arrays; a record that a person reads needs four or five. */
export const MAX_DEPTH: number = 64;

/** Text that JSON prints as it stands, between two quotes. */
const PLAIN = /^[ !#-[\]-~]*$/;

/** With the flag `u` a surrogate that is half of a pair is part of its character. */
const LONE_SURROGATE = /\p{Surrogate}/u;

/**
 * The one text of a JSON value: RFC 8785 (JCS). Two values that are equal as JSON have the same
 * text, so that its hash identifies the value.
 *
 * Keys are sorted by UTF-16 code units, numbers are printed as ECMAScript prints them (`-0` is `0`),
 * and only what must be escaped in a string is.
 *
 * @throws `TypeError` that names the key for a value that JSON would not give back: `undefined`,
 * NaN, Infinity, a bigint, a function, a lone surrogate, an object that is neither plain nor an
 * array, or nesting deeper than 64.
 */
export function canonical(value: unknown): string {
  return textOf(value, "", 0);
}

/**
 * The members of a plain object as {@linkcode canonical} prints them, `"key":value`, in its order.
 *
 * @throws `TypeError` like {@linkcode canonical}.
 */
export function canonicalMembers(object: object): string[] {
  return membersOf(object, "", 0);
}

function textOf(value: unknown, at: string, depth: number): string {
  switch (typeof value) {
    case "string":
      return quote(value, at);
    case "number":
      if (!Number.isFinite(value)) throw refusal(at, String(value));
      return String(value);
    case "boolean":
      return value ? "true" : "false";
    case "object":
      if (value === null) return "null";
      if (depth >= MAX_DEPTH) throw refusal(at, `nesting deeper than ${MAX_DEPTH}`);
      if (Array.isArray(value)) {
        // Array.from visits holes, which map() would skip and JSON has no word for.
        return `[${Array.from(value, (v, i) => textOf(v, `${at}[${i}]`, depth + 1)).join(",")}]`;
      }
      return `{${membersOf(value, at, depth).join(",")}}`;
    default:
      throw refusal(at, typeof value === "undefined" ? "undefined" : `a ${typeof value}`);
  }
}

function membersOf(object: object, at: string, depth: number): string[] {
  const prototype = Object.getPrototypeOf(object);
  if (prototype !== Object.prototype && prototype !== null) {
    throw refusal(at, `an object of class ${prototype.constructor?.name ?? "?"}`);
  }
  // sort() without a comparison orders by UTF-16 code units, as RFC 8785 section 3.2.3 asks.
  return Object.keys(object).sort().map((key) => {
    const inner = at === "" ? key : `${at}.${key}`;
    const text = textOf((object as { [key: string]: unknown })[key], inner, depth + 1);
    return `${quote(key, inner)}:${text}`;
  });
}

/** JSON.stringify escapes as RFC 8785 section 3.2.2.2 asks, except that it also takes lone surrogates. */
function quote(text: string, at: string): string {
  if (PLAIN.test(text)) return `"${text}"`;
  if (LONE_SURROGATE.test(text)) throw refusal(at, "a lone surrogate");
  return JSON.stringify(text);
}

function refusal(at: string, what: string): TypeError {
  return new TypeError(`Cannot write ${at === "" ? "value" : `"${at}"`} as JSON: it is ${what}`);
}
