import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { account, type Accounting, type Allowance, parseClaims } from "./accounting.ts";
import { parseAvcs } from "../../agent/audit/avc.ts";

/** A longer list would hide what it ought to show. */
export const MOST_ALLOWANCES = 10;

/**
 * Accounts for a run by what it left in `out`, and writes `unexpected-avcs.json` there.
 *
 * @throws `SyntaxError` for a malformed claim.
 */
export function accountFor(out: string): Accounting {
  const read = (name: string) => {
    const file = join(out, name);
    return existsSync(file) ? readFileSync(file, "utf8") : "";
  };
  const avcs = parseAvcs(read("audit.log"), read("dmesg.txt"));
  const accounting = account(avcs, parseClaims(read("claimed-avcs.jsonl")), readAllowances());
  const json = JSON.stringify(accounting.unexpected, null, 2);
  writeFileSync(join(out, "unexpected-avcs.json"), `${json}\n`);
  return accounting;
}

/** @throws `RangeError` when the list has grown beyond {@linkcode MOST_ALLOWANCES}. */
export function readAllowances(
  file: string | URL = new URL("avcs.json", import.meta.url),
): Allowance[] {
  const list = JSON.parse(readFileSync(file, "utf8")) as Allowance[];
  if (list.length <= MOST_ALLOWANCES) return list;
  throw new RangeError(
    `${file} has ${list.length} entries: at most ${MOST_ALLOWANCES} are allowed`,
  );
}
