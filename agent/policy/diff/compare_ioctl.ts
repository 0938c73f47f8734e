import type { PolicyDb } from "../binary/policydb.ts";
import { EXTENDED_ALLOWED } from "../binary/rules.ts";
import { RuleIndex } from "../rule_index.ts";
import type { Both } from "./compare_grants.ts";

/** ioctl(2) commands that an `allowxperm` rule leaves of the permission `ioctl`, for one guest type. */
export interface IoctlChange {
  readonly source: string;
  readonly target: string;
  readonly tclass: string;
  /** Ranges of numbers, with the condition of those under booleans; absent: no rule, so every command. */
  readonly before: string | undefined;
  readonly after: string | undefined;
}

/** AVTAB_XPERMS_IOCTLFUNCTION and AVTAB_XPERMS_IOCTLDRIVER; <sepol/policydb/avtab.h> */
const FUNCTIONS = 1;
const DRIVERS = 2;

/** Finds where the commands that guest types may use differ. */
export function compareIoctls(
  [before, after]: Both<PolicyDb>,
  sources: readonly string[],
): IoctlChange[] {
  return sources.flatMap((source) => {
    const [old, now] = [before, after].map((db) => commandsOf(source, db)) as [Commands, Commands];
    const keys = new Set([...old.keys(), ...now.keys()]);
    return [...keys].sort().flatMap((key) => {
      const [target, tclass] = key.split(":") as [string, string];
      const change = { source, target, tclass, before: old.get(key), after: now.get(key) };
      return change.before === change.after ? [] : [change];
    });
  });
}

/** By `target:class`. */
type Commands = ReadonlyMap<string, string>;

function commandsOf(source: string, db: PolicyDb): Commands {
  const { rules } = db;
  const groups = new Set(db.groupsOf(db.valueOf(source) ?? 0));
  const classes = new Map([...db.classes.values()].map(({ name, value }) => [value, name]));
  const found = new Map<string, Map<string, Set<number>>>();
  const index = rules.extended.size === 0 ? undefined : new RuleIndex(db);
  for (const [rule, bytes] of rules.extended) {
    if (rules.kind[rule] !== EXTENDED_ALLOWED || !groups.has(rules.source[rule]!)) continue;
    const condition = index!.conditionOf(rule)?.text ?? "";
    for (const target of db.expand(db.nameOf(rules.target[rule]!)) ?? []) {
      const key = `${target}:${classes.get(rules.tclass[rule]!)}`;
      const of = found.get(key) ?? new Map<string, Set<number>>();
      found.set(key, of.set(condition, new Set([...of.get(condition) ?? [], ...numbersIn(bytes)])));
    }
  }
  return new Map([...found].map(([key, of]) => [
    key,
    [...of].map(([condition, numbers]) => ranges(numbers) + (condition && ` [ ${condition} ]`))
      .sort().join("; "),
  ]));
}

/** One byte says of what, one the driver; then one bit for each function, or for each driver. */
function numbersIn(bytes: Uint8Array): Set<number> {
  const [what, driver] = bytes as unknown as [number, number];
  const numbers = new Set<number>();
  for (let bit = 0; bit < 256; bit++) {
    if ((bytes[2 + (bit >> 3)]! >> (bit & 7) & 1) === 0) continue;
    if (what === FUNCTIONS) numbers.add(driver << 8 | bit);
    if (what === DRIVERS) { for (let low = 0; low < 256; low++) numbers.add(bit << 8 | low); }
  }
  return numbers;
}

function ranges(numbers: ReadonlySet<number>): string {
  const runs: [number, number][] = [];
  for (const number of [...numbers].sort((a, b) => a - b)) {
    const run = runs.at(-1);
    if (run !== undefined && run[1] === number - 1) run[1] = number;
    else runs.push([number, number]);
  }
  const hex = (number: number) => `0x${number.toString(16)}`;
  return runs.map(([first, last]) => first === last ? hex(first) : `${hex(first)}-${hex(last)}`)
    .join(" ");
}
