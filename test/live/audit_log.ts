import { readFileSync } from "node:fs";
import { type Avc, parseAvc } from "../../agent/audit/avc.ts";

const PATH = "/var/log/audit/audit.log";

/** The denials that auditd has written so far. */
export function recordedAvcs(): Avc[] {
  return readFileSync(PATH, "utf8").split("\n").flatMap((line) => parseAvc(line) ?? []);
}

/** How long nothing new has to come before all is taken to be there. */
const SETTLED_MS = 400;

/** Denials of one process, or of any; waits for auditd, which writes a moment after the kernel. */
export async function avcsOf(
  pid: number | "any",
  matches: (avc: Avc) => boolean = () => true,
  ms: number = 3000,
): Promise<Avc[]> {
  const deadline = Date.now() + ms;
  let found: Avc[] = [], since = Date.now();
  for (;;) {
    const now = recordedAvcs().filter((avc) => (pid === "any" || avc.pid === pid) && matches(avc));
    if (now.length > found.length) since = Date.now();
    found = now;
    if (found.length > 0 && Date.now() - since > SETTLED_MS) return found;
    if (Date.now() > deadline) return found;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
