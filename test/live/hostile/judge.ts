import type { Avc } from "../../../agent/audit/avc.ts";
import { parseContext } from "../../../agent/label/context.ts";
import { livePolicy } from "../../../agent/policy/live.ts";
import { avcsOf } from "../audit_log.ts";
import type { Attempt } from "../holder.ts";
import { claim } from "../world.ts";

/** Refusals that SELinux did not decide, so that they leave no AVC. */
const OTHERS = ["dac", "server", "kernel"];

/**
 * What came of attempts, in the words of the table: `ok`, or errno, who decided and what was denied.
 *
 * That SELinux refused is said only of an attempt with an AVC of its own, by its thread's name. Who
 * else refused cannot be seen: there the table's word stands, if nothing speaks against it.
 *
 * @param expected Of each attempt, in the table's words.
 */
export async function judge(
  attempts: Readonly<Record<string, Attempt>>,
  expected: Readonly<Record<string, string>>,
  reason: string,
): Promise<Record<string, string>> {
  const tags = new Set(Object.values(attempts).map(({ tag }) => tag));
  const avcs = await avcsOf("any", ({ comm }) => comm !== undefined && tags.has(comm));
  claim(avcs.map(({ serial }) => serial), reason);
  return Object.fromEntries(
    Object.entries(attempts).map(([what, { tag, said }]) => [
      what,
      outcome(said, avcs.filter(({ comm }) => comm === tag), expected[what] ?? ""),
    ]),
  );
}

function outcome(said: string, avcs: readonly Avc[], expected: string): string {
  const errno = said.startsWith("err ") ? said.slice("err ".length) : "ok";
  const permissive = avcs.some((avc) => avc.permissive) ? " permissive" : "";
  const denials = [...new Set(avcs.map(denial))].join(", ");
  if (denials !== "") return `${errno} ${denials}${permissive}`;
  if (errno === "ok") return "ok";
  const by = expected.split(" ")[1] ?? "";
  return OTHERS.includes(by) ? `${errno} ${by}` : `${errno} without an AVC`;
}

/** `te write`, `constraint process:signal`: the class stands there where it is not file. */
function denial({ scontext, tcontext, tclass, denied }: Avc): string {
  const access = livePolicy.access(parseContext(scontext), parseContext(tcontext), tclass);
  const by = new Set(denied.map((permission) => {
    const decision = access.decide(permission);
    // The class permission is there: the number of the ioctl was not.
    return decision.answer === "allowed" ? "te" : decision.by;
  }));
  return `${[...by].join("/")} ${tclass === "file" ? "" : `${tclass}:`}${denied.join(" ")}`;
}
