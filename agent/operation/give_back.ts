import { constants } from "node:fs";
import { fchown } from "../../ffi/libc.ts";
import type { Host } from "../host.ts";
import { openBeneath } from "../image/folder.ts";
import { parseContext } from "../label/context.ts";
import type { Identity } from "../owned_fd.ts";

/**
 * Gives files their own label and owner back, as the log has them, where no other guest uses them.
 *
 * Only for a guest whose processes are all gone: a label that grants more must not come back while
 * one of them may hold a descriptor. Safe to run again.
 *
 * @returns What was done, for the log and the terminal; a file that cannot be given back is a
 * finding there, and the others still are.
 */
export function giveBack(
  guest: string,
  identities: Iterable<Identity>,
  host: Host,
): string[] {
  const did: string[] = [];
  for (const identity of identities) {
    const reference = host.log.state.references.get(identity);
    if (reference === undefined) continue;
    const { path, original, users } = reference;
    if (users.some((user) => user.guest !== guest)) continue;
    try {
      using fd = openBeneath(host.folders, path, constants.O_RDONLY);
      if (fd.identity !== identity) throw new Error(`"${path}" is another file now`);
      if (original.label !== undefined) {
        host.selinux.writeLabel(fd, parseContext(original.label));
        did.push(`label of ${path} is ${original.label} again`);
      }
      if (original.owner !== undefined) {
        fchown(fd.number, original.owner.uid, original.owner.gid, path);
        did.push(`owner of ${path} is ${original.owner.uid}:${original.owner.gid} again`);
      }
    } catch (error) {
      const text = `could not give back label and owner of ${path}: ${(error as Error).message}`;
      did.push(text);
      host.log.append({
        event: "finding",
        id: "not-given-back",
        severity: "medium",
        guest,
        text,
        evidence: { path, identity, original: { ...original } },
        hint: `Restore them by hand: chcon ${original.label ?? ""} ${path}`,
      }, { revocation: true });
    }
  }
  return did;
}
