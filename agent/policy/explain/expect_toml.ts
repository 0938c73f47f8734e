import { harmless } from "../../io/json.ts";
import { relationOf } from "./expect.ts";
import type { Explanation } from "./explain.ts";
import { filesOf, typeOf } from "./group.ts";

/** How many files a comment names. */
const MOST_FILES = 5;

/** A list for `--expect` that these denials fulfil; its reader takes out what should not be. */
export function expectationsIn(explanations: readonly Explanation[]): string[] {
  const entries = new Map<string, string[]>();
  for (const { group, advice, prediction } of explanations) {
    // It went through: to expect that it does would hide that something is permissive.
    if (group.permissive) continue;
    const entry = [
      "[[denial]]",
      `source = ${JSON.stringify(typeOf(group.source))}`,
      `target = ${JSON.stringify(typeOf(group.target))}`,
      `relation = ${JSON.stringify(relationOf(group.denials[0]!))}`,
      `class = ${JSON.stringify(group.tclass)}`,
      `permissions = ${JSON.stringify(group.denied).replaceAll(",", ", ")}`,
      // QEMU does such things when it starts, on some hosts and not on others.
      ...(prediction?.kind === "harmless" ? ["optional = true"] : []),
      `reason = ${JSON.stringify(reasonOf(prediction, advice.meaning))}`,
    ];
    const files = filesOf(group).slice(0, MOST_FILES).map((file) => `# ${harmless(file)}`);
    const key = entry.slice(0, -1).join("\n");
    if (!entries.has(key)) entries.set(key, [...files, ...entry, ""]);
  }
  return [
    "# Denials that are expected, for svirt-agent policy explain --expect. Take out what should not be",
    '# there; add path = "/srv/*" where it matters which file.',
    "",
    ...[...entries.values()].flat(),
  ];
}

function reasonOf(
  prediction: Explanation["prediction"],
  meaning: Explanation["advice"]["meaning"],
): string {
  if (prediction === undefined) return `to be looked at (${meaning})`;
  const { promise, because, id } = prediction;
  return `${promise === undefined ? "" : `${promise}: `}${because} [${id}]`;
}
