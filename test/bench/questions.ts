import { globSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import type { PolicyDb } from "../../agent/policy/binary/policydb.ts";
import type { Question } from "../../agent/policy/engine.ts";
import { cacheFolder } from "../lab/cache.ts";
import { MissingError } from "./peer.ts";

/** Debian's of the lab, or the host's own. */
export function largestPolicy(): string {
  const places = [
    join(cacheFolder(), "base-*/rootfs/etc/selinux/*/policy/policy.3[0-3]"),
    join(homedir(), ".cache/svirt-agent/lab/base-*/rootfs/etc/selinux/*/policy/policy.3[0-3]"),
    "/etc/selinux/*/policy/policy.3[0-3]",
  ];
  const files = places.flatMap((place) => globSync(place));
  const [largest] = files.sort((a, b) => statSync(b).size - statSync(a).size);
  if (largest !== undefined) return largest;
  throw new MissingError("there is no binary policy (npm run lab brings Debian's)");
}

/** Of guests to types by turns: rules allow some, deny most, and constraints deny others' categories. */
export function randomQuestions(db: PolicyDb, count: number): Question[] {
  const types = db.types();
  const classes = ["file", "dir", "process", "unix_stream_socket"];
  return Array.from({ length: count }, (_, i): Question => ({
    source: `system_u:system_r:svirt_t:s0:c1,c2`,
    target: `system_u:object_r:${types[i * 7919 % types.length]}:s0${i % 2 === 0 ? "" : ":c1,c2"}`,
    tclass: classes[i % classes.length]!,
    permissions: [db.classes.get(classes[i % classes.length]!)!.permissions[i % 20]!],
  }));
}
