import { resize, rewrite } from "../image/fence.ts";
import type { OwnedFd } from "../owned_fd.ts";
import type { Decision } from "./verdict.ts";

/**
 * Asks the NFS server whether the guest may write a fenced image, or change its size: through the very
 * open file that it was handed, with bytes that are there already, and a size that it has again at once.
 *
 * @param fenced Lent.
 * @param agent What SELinux says to the agent's own write: where it refuses, nobody asks the server.
 */
export function serverWitness(fenced: OwnedFd, agent: Decision): Decision {
  if (agent.answer !== "allowed") return { answer: "unknown", by: "unknown" };
  const said = [rewrite(fenced), resize(fenced)];
  if (said.includes("allowed")) return { answer: "allowed", by: "server" };
  if (said.every((it) => it === "EACCES")) return { answer: "denied", by: "server" };
  return { answer: "unknown", by: "other" };
}
