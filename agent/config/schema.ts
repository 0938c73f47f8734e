import { closest } from "./closest.ts";
import { ConfigError } from "./config_error.ts";
import type { KeyLines } from "./key_lines.ts";

/** Where a value stands: file, and path of tables and keys. */
export class Place {
  readonly file: string;
  /** `image[0].format`; undefined for the file as a whole. */
  readonly key: string | undefined;
  readonly #lines: KeyLines | undefined;

  constructor(file: string, key?: string, lines?: KeyLines) {
    this.file = file;
    this.key = key;
    this.#lines = lines;
  }

  /** Line of the key, or of the nearest table around it; from 1. */
  get line(): number | undefined {
    return this.key === undefined ? undefined : this.#lines?.(this.key);
  }

  /** A key of the table that stands here. */
  at(key: string): Place {
    const shown = /^[\w-]+$/.test(key) ? key : JSON.stringify(key);
    return new Place(
      this.file,
      this.key === undefined ? shown : `${this.key}.${shown}`,
      this.#lines,
    );
  }

  /** An element of the array that stands here, from 0. */
  index(i: number): Place {
    return new Place(this.file, `${this.key ?? ""}[${i}]`, this.#lines);
  }

  /** The error for what stands here, to be thrown. */
  error(problem: string, hint?: string): ConfigError {
    return new ConfigError(this.file, problem, { key: this.key, line: this.line, hint });
  }
}

/** Checks a TOML value and gives it back as what it stands for. Throws {@linkcode ConfigError}. */
export type Reader<T> = (value: unknown, place: Place) => T;

/** One key of a table: how it is read, and what is so when it is not there. */
export interface Key<T> {
  readonly read: Reader<T>;
  readonly missing: (place: Place) => T;
}

/** A key that must be there. `say` tells what to write: `say "qcow2" or "raw"`. */
export function required<T>(read: Reader<T>, say?: string): Key<T> {
  const problem = say === undefined ? "missing" : `missing (${say})`;
  return {
    read,
    missing: (place) => {
      throw place.error(problem);
    },
  };
}

/** A key that may be left out. */
export function optional<T>(read: Reader<T>, fallback: T): Key<T> {
  return { read, missing: () => fallback };
}

/** A table that may be left out, with every key of it. */
export function optionalTable<T>(read: Reader<T>): Key<T> {
  return { read, missing: (place) => read({}, place) };
}

/** A key that the agent knows and cannot do yet. */
export function unsupported(problem: string, hint: string): Key<undefined> {
  return {
    read: (_, place) => {
      throw place.error(problem, hint);
    },
    missing: () => undefined,
  };
}

/** What a table of such keys is read as. */
export type Shape<T> = { readonly [K in keyof T]: Key<T[K]> };

/** A table with exactly these keys, asked in this order. */
export function table<T extends object>(shape: Shape<T>): Reader<T> {
  const known = Object.keys(shape);
  return (value, place) => {
    if (typeOf(value) !== "table") throw mistyped("a table", value, place);
    const given = value as { [key: string]: unknown };
    for (const key of Object.keys(given)) {
      if (known.includes(key)) continue;
      const meant = closest(key, known);
      const advice = meant === undefined
        ? `known: ${known.join(", ")}`
        : `did you mean "${meant}"?`;
      throw place.at(key).error(`unknown key (${advice})`);
    }
    const entries = (Object.entries(shape) as [string, Key<unknown>][]).map(([key, rule]) => {
      const at = place.at(key);
      return [key, Object.hasOwn(given, key) ? rule.read(given[key], at) : rule.missing(at)];
    });
    return Object.fromEntries(entries);
  };
}

/** An array, or `[[table]]` repeated. */
export function list<T>(read: Reader<T>): Reader<readonly T[]> {
  return (value, place) => {
    if (!Array.isArray(value)) throw mistyped("an array", value, place);
    return value.map((element, i) => read(element, place.index(i)));
  };
}

/** A list, or one value alone that stands for a list of it. */
export function oneOrList<T>(read: Reader<T>): Reader<readonly T[]> {
  const many = list(read);
  return (value, place) => Array.isArray(value) ? many(value, place) : [read(value, place)];
}

/** A table whose keys are names that the writer chose. */
export function record<T>(read: Reader<T>): Reader<ReadonlyMap<string, T>> {
  return (value, place) => {
    if (typeOf(value) !== "table") throw mistyped("a table", value, place);
    const entries = Object.entries(value as { [key: string]: unknown });
    return new Map(entries.map(([key, inner]) => [key, read(inner, place.at(key))]));
  };
}

/**
 * A string without NUL, which would end it for every C function.
 *
 * @param check Returns what is wrong with it, or undefined.
 */
export function string(check?: (text: string) => string | undefined): Reader<string> {
  return (value, place) => {
    if (typeof value !== "string") throw mistyped("a string", value, place);
    if (value.includes("\0")) throw place.error(`${JSON.stringify(value)} holds a NUL character`);
    const problem = check?.(value);
    if (problem !== undefined) throw place.error(`${JSON.stringify(value)} ${problem}`);
    return value;
  };
}

/** `true` or `false`. */
export const boolean: Reader<boolean> = (value, place) => {
  if (typeof value !== "boolean") throw mistyped("true or false", value, place);
  return value;
};

/** One of a few words. */
export function oneOf<const W extends string>(...words: readonly W[]): Reader<W> {
  return (value, place) => {
    const text = string()(value, place);
    const word = words.find((word) => word === text);
    if (word !== undefined) return word;
    throw place.error(`${JSON.stringify(text)} is not known (say ${either(words)})`);
  };
}

/** `"a", "b" or "c"`. */
export function either(words: readonly string[]): string {
  const quoted = words.map((word) => JSON.stringify(word));
  return quoted.length < 2
    ? quoted.join("")
    : `${quoted.slice(0, -1).join(", ")} or ${quoted.at(-1)}`;
}

function mistyped(wanted: string, value: unknown, place: Place): ConfigError {
  const type = typeOf(value);
  const shown = ["integer", "float", "boolean"].includes(type)
    ? `${type} ${value}`
    : type === "string"
    ? `string ${JSON.stringify(value)}`
    : /^[aeiou]/.test(type)
    ? `an ${type}`
    : `a ${type}`;
  return place.error(`expected ${wanted}, got ${shown}`);
}

/** The TOML type of a value as readToml() gives it. */
function typeOf(value: unknown): string {
  if (typeof value === "bigint") return "integer";
  if (typeof value === "number") return "float";
  if (Array.isArray(value)) return "array";
  if (value instanceof Date) return "date";
  return typeof value === "object" ? "table" : typeof value;
}
