/**
 * What a constraint demands, for a reader who does not know how constraints are spelt.
 *
 * @module
 */

/** What stands for the parts of both contexts in an expression. */
const PARTS: Readonly<Record<string, string>> = {
  u1: "the source's user",
  u2: "the target's user",
  r1: "the source's role",
  r2: "the target's role",
  t1: "the source's type",
  t2: "the target's type",
  l1: "the source's low level",
  l2: "the target's low level",
  h1: "the source's high level",
  h2: "the target's high level",
};

const RELATIONS: Readonly<Record<string, string>> = {
  dom: "has to include",
  domby: "has to be included in",
  eq: "has to equal",
  incomp: "has to be unlike",
  "==": "has to be",
  "!=": "may not be",
};

/**
 * The parts of a constraint that failed, as sentences: `the source's high level has to include the
 * target's high level`. Empty where its text says nothing of it.
 *
 * @param text As libsepol prints it: parts that failed are marked `-Fail-`.
 */
export function failedParts(text: string): string[] {
  const failed = text.matchAll(/(\w+) (dom|domby|eq|incomp|==|!=) ([^()]+?) ?-Fail-/g);
  const sentences = [...failed].map(([, left, relation, right]) => {
    const names = right!.replace(/^\{ ?(.*?) ?\}$/, "$1");
    return `${PARTS[left!] ?? left} ${RELATIONS[relation!]} ${PARTS[names] ?? names}`;
  });
  return [...new Set(sentences)];
}
