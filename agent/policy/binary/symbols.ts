import { Constraints } from "./constraints.ts";
import type { Cursor } from "./cursor.ts";

/** A class and its permissions, in the order of their bits. */
export interface PolicyClass {
  readonly name: string;
  readonly value: number;
  readonly permissions: readonly string[];
  /** What has to hold for some of them, besides a rule that allows it. */
  readonly constraints: Constraints;
}

export interface PolicyBoolean {
  readonly name: string;
  readonly value: number;
  /** On, in this policy as it was written. */
  readonly on: boolean;
  /** Where that stands in the file: a u32. */
  readonly offset: number;
}

/** A type or an attribute. */
export interface PolicyType {
  readonly name: string;
  readonly isAttribute: boolean;
}

/** A role, and by value the types that a context with it may have. */
export interface PolicyRole {
  readonly name: string;
  readonly value: number;
  readonly types: readonly number[];
}

/** An SELinux user, and by value the roles that a context with it may have. */
export interface PolicyUser {
  readonly name: string;
  readonly value: number;
  readonly roles: readonly number[];
}

export interface Symbols {
  readonly classes: ReadonlyMap<string, PolicyClass>;
  /** By their value, which counts from 1; under 0 there is none. */
  readonly types: readonly (PolicyType | undefined)[];
  /** Aliases included. */
  readonly typeValues: ReadonlyMap<string, number>;
  readonly booleans: readonly PolicyBoolean[];
  readonly roles: readonly PolicyRole[];
  readonly users: readonly PolicyUser[];
}

const NEW_OBJECT_DEFAULTS = 27;
const DEFAULT_TYPE = 28;
/** TYPEDATUM_PROPERTY_PRIMARY and _ATTRIBUTE; an alias has neither. */
const PRIMARY = 1;
const ATTRIBUTE = 2;

/** Reads the eight tables of symbols; of those nobody asks about here, where they end. */
export function readSymbols(cursor: Cursor, version: number): Symbols {
  const commons = new Map(table(cursor, () => readCommon(cursor)));
  const classes = table(cursor, () => readClass(cursor, version, commons));
  const roles = table(cursor, () => readRole(cursor));
  const { types, typeValues } = readTypes(cursor);
  const users = table(cursor, () => readUser(cursor));
  const booleans = table(cursor, () => readBoolean(cursor));
  table(cursor, () => skipLevel(cursor));
  table(cursor, () => skipCategory(cursor));
  return {
    classes: new Map(classes.map((it) => [it.name, it])),
    types,
    typeValues,
    booleans,
    roles,
    users,
  };
}

function table<T>(cursor: Cursor, read: () => T): T[] {
  const [, elements] = cursor.u32s(2);
  return Array.from({ length: elements! }, read);
}

/** A rule has one bit for each permission of its class; <sepol/policydb/avtab.h>. */
const MOST_PERMISSIONS = 32;
/** A rule's types are 16 bits wide. */
const MOST_TYPES = 0xffff;

/** The number of a symbol, from 1. */
function within(most: number, value: number, what: string, cursor: Cursor): number {
  return value >= 1 && value <= most ? value : cursor.fail(`${what} number ${value}`);
}

/** Permissions by their bit; those of a common come first. */
function permissions(cursor: Cursor, elements: number, inherited: readonly string[]): string[] {
  const names = [...inherited];
  for (; elements > 0; elements--) {
    const [length, value] = cursor.u32s(2) as [number, number];
    names[within(MOST_PERMISSIONS, value, "permission", cursor) - 1] = cursor.name(length);
  }
  return names;
}

function readCommon(cursor: Cursor): readonly [string, readonly string[]] {
  const [length, , , elements] = cursor.u32s(4);
  const name = cursor.name(length!);
  return [name, permissions(cursor, elements!, [])];
}

function readClass(
  cursor: Cursor,
  version: number,
  commons: ReadonlyMap<string, readonly string[]>,
): PolicyClass {
  const [length, commonLength, value, , elements, constraints] = cursor.u32s(6);
  const name = cursor.name(length!);
  const common = commons.get(cursor.name(commonLength!)) ?? [];
  const names = permissions(cursor, elements!, common);
  const constrained = new Constraints(cursor, constraints!, version);
  new Constraints(cursor, cursor.u32(), version); // of validatetrans
  if (version >= NEW_OBJECT_DEFAULTS) cursor.u32s(3);
  if (version >= DEFAULT_TYPE) cursor.u32();
  return { name, value: value!, permissions: names, constraints: constrained };
}

function readRole(cursor: Cursor): PolicyRole {
  const [length, value] = cursor.u32s(3);
  const name = cursor.name(length!);
  cursor.skipBitmap(); // dominates
  return { name, value: value!, types: cursor.bitmap() };
}

function readTypes(cursor: Cursor): Pick<Symbols, "types" | "typeValues"> {
  const types: (PolicyType | undefined)[] = [undefined];
  const typeValues = new Map<string, number>();
  table(cursor, () => {
    const [length, value, properties] = cursor.u32s(4) as [number, number, number];
    const name = cursor.name(length);
    typeValues.set(name, within(MOST_TYPES, value, "type", cursor));
    const isAttribute = (properties & ATTRIBUTE) !== 0;
    if (isAttribute || (properties & PRIMARY) !== 0) types[value] = { name, isAttribute };
  });
  return { types, typeValues };
}

function readUser(cursor: Cursor): PolicyUser {
  const [length, value] = cursor.u32s(3);
  const name = cursor.name(length!);
  const roles = cursor.bitmap();
  skipMlsRange(cursor);
  cursor.u32(); // default level
  cursor.skipBitmap();
  return { name, value: value!, roles };
}

/** struct mls_range: one level, or two. */
export function skipMlsRange(cursor: Cursor): void {
  const levels = cursor.u32();
  cursor.u32s(levels);
  for (let i = 0; i < levels; i++) cursor.skipBitmap();
}

function readBoolean(cursor: Cursor): PolicyBoolean {
  const value = cursor.u32();
  const offset = cursor.at;
  const on = cursor.u32() !== 0;
  return { value, offset, on, name: cursor.name(cursor.u32()) };
}

function skipLevel(cursor: Cursor): void {
  const [length] = cursor.u32s(2);
  cursor.skip(length!);
  cursor.u32();
  cursor.skipBitmap();
}

function skipCategory(cursor: Cursor): void {
  const [length] = cursor.u32s(3);
  cursor.skip(length!);
}
