import { harmless } from "../../io/json.ts";
import type { AvcLog } from "../../audit/avc_reader.ts";
import type { Meaning } from "./advice.ts";
import type { Differences } from "./expect.ts";
import type { Explanation } from "./explain.ts";

/** Three lines for a person; a guest that chose a name chooses no more than its letters. */
export function threeLines({ tried, refusal, advice }: Explanation): string[] {
  return [tried, `  said no: ${refusal.text}`, `  to do:   ${advice.text}`].map(harmless);
}

const COUNTED: Readonly<Record<Meaning, string>> = {
  look: "to look at",
  "not-denied": "not denied at all",
  past: "of another policy or boolean",
  working: "the product working",
  harmless: "harmless",
};

/** The last line: how many there were, and what they are. */
export function summary(explanations: readonly Explanation[], log: AvcLog): string {
  const { denials, lines, skipped } = log;
  const rest = `${skipped} of ${plural(lines, "line")} ${skipped === 1 ? "is" : "are"} about none`;
  if (denials.length === 0) return `no denials; ${rest}`;
  const counts = (Object.keys(COUNTED) as Meaning[]).flatMap((meaning) => {
    const of = explanations.filter(({ advice }) => advice.meaning === meaning);
    const count = of.reduce((sum, { group }) => sum + group.denials.length, 0);
    return count === 0 ? [] : `${count} ${COUNTED[meaning]}`;
  });
  const kinds = plural(explanations.length, "kind");
  return `${plural(denials.length, "denial")} of ${kinds}: ${counts.join(", ")}; ${rest}`;
}

/** `1 line`, `2 lines` */
export function plural(count: number, word: string): string {
  return `${count} ${word}${count === 1 ? "" : "s"}`;
}

/** One that was expected and is not there, in one line. */
export function missingLine(
  { expectation, permission }: Differences["missing"][number],
  file: string,
): string {
  const { source, target, class: classes, path, relation, reason, line } = expectation;
  const place = line === undefined ? file : `${file}:${line}`;
  const of = [relation, path && JSON.stringify(path)].filter((it) => it !== undefined).join(", ");
  return `missing: ${place}: ${source.join("|")} ${target.join("|")}:${
    classes.join("|")
  } ${permission}` +
    `${of === "" ? "" : ` (${of})`}: ${reason}`;
}
