import { readFileSync } from "node:fs";
import { endianness } from "node:os";

/** What tells that the policy's answers may have changed. */
export interface SelinuxStatus {
  readonly enforcing: boolean;
  /** Another number after each policy load and each commit of booleans. */
  readonly policyLoad: number;
}

/** struct selinux_kernel_status: version, sequence, enforcing, policyload, deny_unknown; u32 each. */
const PATH = "/sys/fs/selinux/status";
const [SEQUENCE, ENFORCING, POLICYLOAD] = [4, 8, 12];
const LENGTH = 20;

/** The kernel's status page; `undefined` where it cannot be read. selinux_status_open(3) */
export function selinuxStatus(path: string = PATH): SelinuxStatus | undefined {
  for (;;) {
    let bytes: Uint8Array;
    try {
      bytes = readFileSync(path);
    } catch {
      return undefined;
    }
    if (bytes.length < LENGTH) return undefined;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const read = (at: number) => view.getUint32(at, endianness() === "LE");
    // Odd while the kernel writes it.
    if (read(SEQUENCE) % 2 === 1) continue;
    return { enforcing: read(ENFORCING) === 1, policyLoad: read(POLICYLOAD) };
  }
}
