import type { Avc } from "../audit/avc.ts";
import type { SelinuxStatus } from "../label/status.ts";

/** Something after which a verdict may be another one. */
export interface Change {
  /** `poll`: nobody can tell, so it is looked at again. */
  readonly kind: "start" | "avc" | "boolean" | "policy" | "mode" | "poll";
  /** RFC 3339: of the kernel's record, or when it was noticed. */
  readonly time: string;
  readonly text: string;
  readonly avc?: Avc;
}

/** What the policy's answers rest on, at one moment. */
export interface PolicyState {
  /** Absent where the kernel's status page cannot be read. */
  readonly status: SelinuxStatus | undefined;
  /** Active values, by name. */
  readonly booleans: ReadonlyMap<string, boolean>;
}

/** What came between two moments. */
export function policyChanges(before: PolicyState, now: PolicyState, time: string): Change[] {
  const changes: Change[] = [];
  if (before.status?.enforcing !== now.status?.enforcing) {
    const mode = now.status?.enforcing ? "enforcing" : "permissive";
    changes.push({ kind: "mode", time, text: `SELinux is ${mode}` });
  }
  if (before.status?.policyLoad === now.status?.policyLoad) return changes;
  const switched = [...now.booleans].filter(([name, active]) =>
    before.booleans.has(name) && before.booleans.get(name) !== active
  );
  for (const [name, active] of switched) {
    changes.push({ kind: "boolean", time, text: `boolean ${name} is ${active ? "on" : "off"}` });
  }
  if (switched.length > 0) return changes;
  // The kernel counts both alike.
  const text = "a policy was loaded, or booleans were committed as they were";
  return [...changes, { kind: "policy", time, text }];
}

/** A denial as a change. */
export function avcChange(avc: Avc): Change {
  const { serial, denied, tclass, tcontext, pid, path, name } = avc;
  const what = path ?? name;
  const text = `AVC ${serial} { ${denied.join(" ")} } on ${tclass} ${tcontext}` +
    `${what === undefined ? "" : ` ${JSON.stringify(what)}`} by pid ${pid ?? "?"}`;
  return { kind: "avc", time: new Date(avc.time * 1000).toISOString(), text, avc };
}
