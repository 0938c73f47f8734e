import type { Avc } from "../../agent/audit/avc.ts";

/** A denial that is known and harmless; types only, because levels differ from run to run. */
export interface Allowance {
  readonly scontext: string;
  readonly tcontext: string;
  readonly class: string;
  readonly permission: string;
  /** Why it may be there, and why it is not cured by a rule. */
  readonly reason: string;
}

/** Said by a test: I provoked this denial. */
export interface Claim {
  readonly serial: number;
  readonly reason: string;
}

/** Where each denial of a run belongs. */
export interface Accounting {
  readonly claimed: readonly Avc[];
  readonly allowed: readonly Avc[];
  readonly unexpected: readonly Avc[];
}

/** Sorts denials; an allowance covers one only with all of its permissions. */
export function account(
  avcs: readonly Avc[],
  claims: readonly Claim[],
  allowances: readonly Allowance[],
): Accounting {
  const serials = new Set(claims.map((claim) => claim.serial));
  const isAllowed = (avc: Avc) =>
    avc.denied.every((permission) =>
      allowances.some((allowance) =>
        allowance.scontext === typeOf(avc.scontext) &&
        allowance.tcontext === typeOf(avc.tcontext) &&
        allowance.class === avc.tclass && allowance.permission === permission
      )
    );
  const claimed = avcs.filter((avc) => serials.has(avc.serial));
  const rest = avcs.filter((avc) => !serials.has(avc.serial));
  return {
    claimed,
    allowed: rest.filter(isAllowed),
    unexpected: rest.filter((avc) => !isAllowed(avc)),
  };
}

/** @throws `SyntaxError` for a line that is no claim: a denial would go unclaimed silently. */
export function parseClaims(jsonl: string): Claim[] {
  return jsonl.split("\n").filter((line) => line.trim() !== "").map((line) => {
    const { serial, reason } = JSON.parse(line) as Partial<Claim>;
    if (typeof serial === "number" && typeof reason === "string") return { serial, reason };
    throw new SyntaxError(
      `Cannot parse claim ${line}: expected {"serial": number, "reason": text}`,
    );
  });
}

/** `node[312] svirt_t -> nfs_t:file { open } "/srv/nfs42/vm1.raw" (serial 88)` */
export function describeAvc(avc: Avc): string {
  const who = `${avc.comm ?? "?"}[${avc.pid ?? "?"}]`;
  const what = avc.path ?? avc.name;
  const permissions = `{ ${avc.denied.join(" ")} }`;
  return `serial ${avc.serial}: ${who} ${avc.scontext} -> ${avc.tcontext}:${avc.tclass} ${permissions}` +
    (what === undefined ? "" : ` "${what}"`) + (avc.permissive ? " (permissive)" : "");
}

/** The level may contain colons, the first three fields cannot. */
function typeOf(context: string): string {
  return context.split(":", 3)[2] ?? "";
}
