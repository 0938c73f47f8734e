import type { PolicyDb } from "../binary/policydb.ts";
import { ALLOWED } from "../binary/rules.ts";
import { evaluate } from "../binary/with_booleans.ts";

/**
 * What else a boolean gives a type while it has this value, as `nfs_t:file`, in alphabetical order:
 * whoever switches one for a single denial gets all of it.
 *
 * @param text `virt_use_nfs=on`
 */
export function opensBesides(db: PolicyDb, text: string, source: string): string[] {
  const [name, word] = text.split("=") as [string, string];
  const boolean = db.booleans.find((it) => it.name === name);
  if (boolean === undefined) return [];
  const holds = (to: boolean) => (value: number) =>
    value === boolean.value ? to : db.booleans.find((it) => it.value === value)?.on ?? false;
  const isOn = word === "on";
  const branches = db.conditionals.map(({ expression }) => {
    const [before, after] = [evaluate(expression, holds(!isOn)), evaluate(expression, holds(isOn))];
    return before === after ? undefined : after;
  });
  const groups = new Set(db.groupsOf(db.valueOf(source) ?? 0));
  const classes = new Map([...db.classes.values()].map((it) => [it.value, it.name]));
  const { rules } = db;
  const found = new Set<string>();
  for (let rule = db.firstConditionalRule; rule < rules.length; rule++) {
    const after = branches[rules.conditional[rule]!];
    if (after === undefined || after !== (rules.branch[rule] === 1)) continue;
    if (rules.kind[rule] !== ALLOWED || !groups.has(rules.source[rule]!)) continue;
    found.add(`${db.nameOf(rules.target[rule]!)}:${classes.get(rules.tclass[rule]!)}`);
  }
  return [...found].sort();
}
