import type { AvcLog } from "../../audit/avc_reader.ts";
import type { Differences, Expectation } from "./expect.ts";
import type { Explanation } from "./explain.ts";
import { commandsOf, distinct, filesOf, spanOf } from "./group.ts";

/** How many serials `--json` has for each kind: enough for ausearch(8). */
const MOST_SERIALS = 100;

/** One kind of denial in `--json`. */
function inJson(
  { group, tried, refusal, prediction, asserted, advice }: Explanation,
): Record<string, unknown> {
  const { source, target, tclass, denied, permissive, denials, trawcon } = group;
  const { text, booleans, constraint, missing, by, answer, audited } = refusal;
  const guests = distinct(denials, ({ guest }) => guest);
  const ioctls = commandsOf(group);
  return {
    source,
    target,
    class: tclass,
    denied,
    permissive,
    ...trawcon !== undefined && { trawcon },
    ...ioctls.length > 0 && { ioctls },
    count: denials.length,
    ...spanOf(group),
    ...guests.length > 0 && { guests },
    files: filesOf(group),
    programs: distinct(denials, ({ exe, comm }) => exe ?? comm),
    serials: distinct(denials, ({ serial }) => serial).slice(0, MOST_SERIALS),
    tried,
    saidNo: {
      by,
      answer,
      ...booleans.length > 0 && { booleans },
      ...constraint !== undefined && { constraint },
      ...missing !== undefined && { missing },
      audited,
      text,
    },
    meaning: advice.meaning,
    ...prediction !== undefined && {
      predictedBy: {
        id: prediction.id,
        ...prediction.promise !== undefined && { promise: prediction.promise },
      },
    },
    ...asserted.length > 0 && { assertedBy: asserted },
    toDo: advice.text,
  };
}

/** `--json`; its schema is version 1. */
export function document(
  explanations: readonly Explanation[],
  { lines, skipped }: AvcLog,
  policy: string | undefined,
  expected: Expected | undefined,
): Record<string, unknown> {
  return {
    schemaVersion: 1,
    policy: policy ?? null,
    lines,
    skipped,
    denials: explanations.map(inJson),
    ...expected !== undefined && {
      expect: {
        file: expected.file,
        asExpected: expected.unexpected.length === 0 && expected.missing.length === 0,
        unexpected: expected.unexpected.map(inJson),
        missing: expected.missing.map(({ expectation, permission }) => ({
          ...listed(expectation),
          permission,
        })),
      },
    },
  };
}

/** What came of `--expect`. */
export interface Expected extends Pick<Differences, "missing"> {
  readonly file: string;
  readonly unexpected: readonly Explanation[];
}

function listed(
  { source, target, class: classes, relation, path, reason, line }: Expectation,
): Record<string, unknown> {
  return {
    source,
    target,
    class: classes,
    ...relation !== undefined && { relation },
    ...path !== undefined && { path },
    reason,
    ...line !== undefined && { line },
  };
}
