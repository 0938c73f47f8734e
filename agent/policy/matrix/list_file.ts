/**
 * A list of guests and images, one a line: `guest CONTEXT [NAME]`, `image CONTEXT [NAME]`, or `device
 * CONTEXT [NAME]` for a block device. A `#` at the start of a word begins a comment.
 *
 * @module
 */

import { ConfigError } from "../../config/config_error.ts";
import { parseContext } from "../../label/context.ts";
import { parseRange } from "../../label/level.ts";
import type { ImageParty, Parties, Party } from "./party.ts";

const CLASSES: Readonly<Record<string, string>> = { image: "file", device: "blk_file" };

/**
 * Reads such a list.
 *
 * @param file What messages call it.
 * @throws {@linkcode ConfigError} with the line.
 */
export function parseList(file: string, text: string): Parties {
  const guests: Party[] = [];
  const images: ImageParty[] = [];
  for (const [index, whole] of text.split("\n").entries()) {
    const line = whole.replace(/(^|\s)#.*$/, "").trim();
    if (line === "") continue;
    const [, kind, context, name] = /^(\S+)\s*(\S*)\s*(.*)$/.exec(line) as unknown as string[];
    const fail = (problem: string) =>
      new ConfigError(file, problem, {
        line: index + 1,
        hint: "guest CONTEXT [NAME], image CONTEXT [NAME] or device CONTEXT [NAME]",
      });
    const tclass = CLASSES[kind!];
    if (tclass === undefined && kind !== "guest") {
      throw fail(`"${kind}" is neither guest nor image nor device`);
    }
    const problem = problemOf(context!);
    if (problem !== undefined) throw fail(problem);
    const party = { context: context!, ...name !== "" && { name } };
    if (tclass === undefined) guests.push(party);
    else images.push({ ...party, tclass });
  }
  return { guests, images };
}

/** What keeps a text from being a context whose categories can be compared. */
export function problemOf(context: string): string | undefined {
  try {
    const { level } = parseContext(context);
    if (level !== undefined) parseRange(level);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}
