import { type FindingGroup, groupFindings } from "./group_findings.ts";
import { type AssertionVerdict, formatState, type PolicyReport } from "./verdict.ts";

/**
 * What is not as an assertion says, and what in the policy says so; further lines of a paragraph are
 * indented.
 *
 * @param verdicts Of one assertion; where there are several, with the states that each was found in.
 * @returns A list of lines for each group of findings.
 */
export function describeFindings(
  verdicts: readonly AssertionVerdict[],
  report: Pick<PolicyReport, "explain">,
): string[][] {
  return groupFindings(verdicts, report).map((group) => [
    describeGroup(group),
    `    ${describeSources(group)}`,
    ...group.because.map((line) => `    ${line}`),
    ...(verdicts.length > 1 ? describeStates(group) : []),
  ]);
}

/** `nfs-open [virt_use_nfs=off]`: what reports call a test. */
export function testName({ assertion: { id }, state }: AssertionVerdict): string {
  const shown = formatState(state);
  return shown === "" ? id : `${id} [${shown}]`;
}

/** One sentence about a test that did not hold. */
export function describeOutcome(
  { assertion, outcome, reason, findings }: AssertionVerdict,
): string {
  switch (outcome) {
    case "holds":
      return assertion.desc;
    case "broken":
      return `${assertion.desc}: broken (${findings.length} ${
        findings.length === 1 ? "permission" : "permissions"
      })`;
    case "unknown":
      return `${assertion.desc}: unknown, ${reason}`;
    default:
      return `${outcome.replace("-", " ")}: ${reason}`;
  }
}

/** `nfs_t:s0:file { read open } is allowed and should be denied`. */
function describeGroup({ first, permissions }: FindingGroup): string {
  const { target, tclass, expected, decision } = first;
  const list = permissions.length === 1 ? permissions[0] : `{ ${permissions.join(" ")} }`;
  const what = `${typeAndLevel(target)}:${tclass} ${list}`;
  if (decision.answer === "unknown") {
    return `${what}: unknown, the policy has no ${decision.missing ?? "answer"}`;
  }
  if (decision.answer === expected) return `${what} happens all the same`;
  const by = decision.by === "constraint" ? " by a constraint" : "";
  return `${what} is ${decision.answer}${by} and should be ${expected}`;
}

/** Sources that are named; an attribute may have hundreds. */
const MOST_SOURCES = 8;

/** `to qemu_t:s0:c1,c2 svirt_t:s0:c1,c2 and 3 more`. */
function describeSources({ sources }: FindingGroup): string {
  const shown = sources.slice(0, MOST_SOURCES).map(typeAndLevel).join(" ");
  const more = sources.length - MOST_SOURCES;
  return more > 0 ? `to ${shown} and ${more} more` : `to ${shown}`;
}

/** States that are named; five booleans have 32. */
const MOST_STATES = 4;

function describeStates({ states }: FindingGroup): string[] {
  const shown = states.slice(0, MOST_STATES).map((state) => `    with ${state}`);
  const more = states.length - MOST_STATES;
  return more > 0 ? [...shown, `    and in ${more} more states`] : shown;
}

/** What differs between contexts: users and roles hardly do. */
function typeAndLevel(context: string): string {
  return context.split(":").slice(2).join(":");
}
