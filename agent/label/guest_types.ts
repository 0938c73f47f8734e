/** Guests' domains of the reference policy and of Fedora's, for who has no policy to ask. */
export const GUEST_TYPES: readonly string[] = [
  "svirt_t",
  "svirt_prot_exec_t",
  "svirt_tcg_t",
  "svirt_kvm_net_t",
  "svirt_qemu_net_t",
];
