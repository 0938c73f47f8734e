import { readFileSync } from "node:fs";
import { libselinux } from "../../ffi/libselinux.ts";
import type { QemuSettings } from "../guest.ts";
import { type Context, parseContext } from "./context.ts";
import type { Selinux } from "./selinux.ts";

/** Types for translated code where virtual_domain_context names none: Fedora's, reference policy's. */
const TCG_TYPES = ["svirt_tcg_t", "svirt_prot_exec_t"];

/** The contexts that the policy has for guests, by how their code runs. */
type Domains = Readonly<Record<QemuSettings["accelerator"], Context>>;

/**
 * `virtual_domain_context` names the type for KVM in its first line and in its second, which Debian
 * leaves out, the one for translated code, which executes memory that it wrote.
 * selinux_virtual_domain_context_path(3); libvirt reads it alike.
 */
function readDomains(selinux: Selinux): Domains {
  const path = libselinux().selinux_virtual_domain_context_path();
  const lines = readFileSync(path, "utf8").split("\n").map((line) => line.trim()).filter(Boolean);
  if (lines[0] === undefined) throw new SyntaxError(`Cannot read ${path}: it names no context`);
  const kvm = parseContext(lines[0]);
  if (lines[1] !== undefined) return { kvm, tcg: parseContext(lines[1]) };
  const known = TCG_TYPES.map((type) => ({ ...kvm, type })).find((it) => selinux.knows(it));
  return { kvm, tcg: known ?? kvm };
}

/** The context of a guest's process: the type that the policy has for it, at the guest's level. */
export function guestContext(
  accelerator: QemuSettings["accelerator"],
  level: string,
  selinux: Selinux,
): Context {
  return { ...readDomains(selinux)[accelerator], level };
}

/** The types that guests run in: one, or one for KVM and one for translated code. */
export function guestDomains(selinux: Selinux): string[] {
  const { kvm, tcg } = readDomains(selinux);
  return [...new Set([kvm.type, tcg.type])];
}
