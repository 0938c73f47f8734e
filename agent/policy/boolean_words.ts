import type { BooleanValues } from "./binary/with_booleans.ts";

/** As documents and command lines have a boolean. */
export type BooleanWord = "on" | "off";

export function wordOf(on: boolean): BooleanWord {
  return on ? "on" : "off";
}

/** `{ virt_use_nfs: "off" }` */
export function inWords(values: BooleanValues): Record<string, BooleanWord> {
  return Object.fromEntries(Object.entries(values).map(([name, on]) => [name, wordOf(on)]));
}
