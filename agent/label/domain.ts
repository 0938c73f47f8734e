import { readFileSync } from "node:fs";
import { libselinux } from "../../ffi/libselinux.ts";
import type { QemuSettings } from "../guest.ts";
import { type Context, parseContext } from "./context.ts";
import type { Selinux } from "./selinux.ts";

/** Types for translated code where virtual_domain_context names none: Fedora's, reference policy's. */
const TCG_TYPES = ["svirt_tcg_t", "svirt_prot_exec_t"];

/**
 * The context of a guest's process: the type that the policy has for it, at the guest's level.
 *
 * `virtual_domain_context` names the type for KVM in its first line and in its second, which Debian
 * leaves out, the one for translated code, which executes memory that it wrote.
 * selinux_virtual_domain_context_path(3); libvirt reads it alike.
 */
export function guestContext(
  accelerator: QemuSettings["accelerator"],
  level: string,
  selinux: Selinux,
): Context {
  const path = libselinux().selinux_virtual_domain_context_path();
  const lines = readFileSync(path, "utf8").split("\n").map((line) => line.trim()).filter(Boolean);
  if (lines[0] === undefined) throw new SyntaxError(`Cannot read ${path}: it names no context`);
  const kvm: Context = { ...parseContext(lines[0]), level };
  if (accelerator === "kvm") return kvm;
  if (lines[1] !== undefined) return { ...parseContext(lines[1]), level };
  const known = TCG_TYPES.map((type) => ({ ...kvm, type })).find((it) => selinux.knows(it));
  return known ?? kvm;
}
