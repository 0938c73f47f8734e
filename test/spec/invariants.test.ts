/**
 * The assertions that come with the program, against Fedora's rules with our modules on top: which of
 * them that policy breaks, and that each of them is broken by some rule.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { bundledFiles } from "../../agent/policy/assertion/bundled.ts";
import { evaluate } from "../../agent/policy/assertion/evaluate.ts";
import { readAssertions } from "../../agent/policy/assertion/parse.ts";
import type { Outcome } from "../../agent/policy/assertion/verdict.ts";
import type { OfflinePolicy } from "../../agent/policy/offline.ts";
import { type CilFile, compiled, MODULES, readCil } from "../policy/compile.ts";

const assertions = readAssertions(bundledFiles());
const fedora = ["test/policy/fedora.cil", ...MODULES].map(readCil);

/** Ids of assertions with this outcome in some state, in alphabetical order. */
function idsOf(outcome: Outcome, policy: OfflinePolicy): string[] {
  const verdicts = evaluate(assertions, policy).verdicts.filter((it) => it.outcome === outcome);
  return [...new Set(verdicts.map(({ assertion: { id } }) => id))].sort();
}

const withRule = (text: string) => compiled(...fedora, { name: "rule.cil", text });

describe("the bundled assertions, on Fedora's rules with our modules", () => {
  const policy = compiled(...fedora);

  it("hold, but for what Fedora's sVirt does not keep", () => {
    assert.deepEqual(idsOf("broken", policy), [
      "other-backing",
      "other-descriptor",
      "other-image-open",
    ]);
  });
  it("leave nothing unknown", () => {
    assert.deepEqual(idsOf("unknown", policy), []);
  });
  it("are not applicable without our modules where they speak of our types", () => {
    const stock = compiled(fedora[0]!);
    assert.deepEqual(idsOf("unknown", stock), []);
    const inapplicable = idsOf("not-applicable", stock);
    assert.ok(inapplicable.includes("own-fd-image") && inapplicable.includes("agent-write"));
    assert.ok(!inapplicable.includes("nfs-open") && !inapplicable.includes("other-process"));
  });
  it("cover every type of guest: a rule for the type of translated code alone breaks them", () => {
    const policy = withRule("(allow svirt_tcg_t nfs_t (file (open)))");
    assert.ok(idsOf("broken", policy).includes("nfs-open"));
  });
  it("cover a type that somebody makes a guest later", () => {
    const policy = withRule(`
      (type svirt_new_t) (roletype system_r svirt_new_t) (typeattributeset virt_domain (svirt_new_t))
      (allow svirt_new_t virt_image_t (file (write)))`);
    assert.ok(idsOf("broken", policy).includes("image-unlabelled-write"));
  });
});

describe("the change of 2025 that let every guest write virt_image_t", () => {
  const policy = withRule("(allow virt_domain virt_image_t (file (write append)))");
  const report = evaluate(assertions, policy);

  it("breaks one assertion that held, which says what that means", () => {
    const broken = idsOf("broken", policy);
    assert.deepEqual(broken.filter((id) => !idsOf("broken", compiled(...fedora)).includes(id)), [
      "image-unlabelled-write",
    ]);
    const { assertion } = report.verdicts.find(({ assertion: { id } }) =>
      id === "image-unlabelled-write"
    )!;
    assert.match(assertion.means!, /every image that does not run/i);
  });
});

describe("a policy without MCS constraints on files", () => {
  const [first, ...modules] = fedora as [CilFile, ...CilFile[]];
  const text = first.text.replaceAll(/^\(mlsconstrain \(file .*$/gm, "");
  const policy = compiled({ name: "unconstrained.cil", text }, ...modules);

  it("lets a guest have another one's image: libvirt's, and ours", () => {
    assert.notEqual(text, first.text);
    const broken = idsOf("broken", policy);
    for (
      const id of ["other-image-data", "other-image-change", "other-fd-image", "other-scratch"]
    ) {
      assert.ok(broken.includes(id), id);
    }
  });
});

/** A rule that breaks each. Constraints of `fedora.cil` are on class `file`, not on block devices. */
const BREAKS: Readonly<Record<string, string>> = {
  "nfs-open": "(allow svirt_t nfs_t (file (open)))",
  "nfs-open-other-booleans":
    "(boolean homes false) (booleanif homes (true (allow svirt_t cifs_t (file (open)))))",
  "nfs-map": "(allow svirt_t fusefs_t (file (map)))",
  "nfs-inherited": "(allow svirt_t nfs_t (file (open)))",
  "other-image-data": "(allow svirt_t svirt_image_t (blk_file (read)))",
  "other-image-open": "(allow svirt_t svirt_image_t (blk_file (open)))",
  "other-image-change": "(allow svirt_t svirt_image_t (blk_file (unlink)))",
  "other-fd-image": "(allow svirt_t svirt_fd_ro_t (file (open)))",
  "own-fd-image": "(allow svirt_t svirt_fd_image_t (file (map)))",
  "image-unlabelled-write": "(allow svirt_t virt_image_t (blk_file (write)))",
  "image-unlabelled-relabel": "(allow svirt_t etc_t (dir (relabelto)))",
  "other-backing": "(allow svirt_t virt_content_t (file (read)))",
  "other-process": "(allow svirt_t svirt_tcg_t (process (ptrace)))",
  "other-process-memory": "(allow svirt_t svirt_tcg_t (lnk_file (read)))",
  "other-connect": "(allow svirt_t svirt_t (unix_stream_socket (connectto)))",
  "other-datagram": "(allow svirt_t svirt_t (unix_dgram_socket (sendto)))",
  "other-ipc": "(allow svirt_t svirt_t (shm (read)))",
  "other-descriptor": "(allow svirt_t svirt_t (fd (use)))",
  "other-scratch": "",
  "frozen-write": "(allow svirt_t svirt_fd_ro_t (file (append)))",
  "frozen-shared-write": "(allow svirt_t svirt_fd_ro_t (file (write)))",
  "frozen-inherited": "(allow svirt_t svirt_fd_ro_t (file (open)))",
  "backing-write": "(allow svirt_t virt_content_t (file (write)))",
  "policy-load": "(allow svirt_t security_t (security (setenforce)))",
  "policy-kernel-files": "(allow svirt_t security_t (file (write)))",
  "policy-files": "(allow svirt_t selinux_config_t (file (rename)))",
  "audit-files": "(allow svirt_t svirt_agent_log_t (file (append)))",
  "audit-socket": "(allow svirt_t self (netlink_audit_socket (nlmsg_relay)))",
  "guest-capabilities": "(allow svirt_t self (capability (sys_admin)))",
  "guest-capabilities2": "(allow svirt_t self (capability2 (bpf)))",
  "guest-modules": "(allow svirt_t kernel_t (system (module_request)))",
  "guest-host-processes": "(allow svirt_t init_t (process (ptrace)))",
  "guest-entrypoint": "(allow svirt_t bin_t (file (entrypoint)))",
  "guest-start": "(allow setfiles_t svirt_t (process (transition)))",
  "guest-leaves": "(allow svirt_t virtd_t (process (transition)))",
  "guest-types-alike": "(allow svirt_tcg_t svirt_fd_image_t (file (open)))",
  "label-only-agent": "(allow virtd_t svirt_fd_ro_t (file (relabelfrom)))",
  "image-only-agent": "(allow virtd_t svirt_fd_image_t (file (getattr)))",
  "image-administrator": "(allow unconfined_t svirt_fd_image_t (file (read)))",
  "image-restorecon": "(allow setfiles_t svirt_fd_ro_t (file (relabelto)))",
  "agent-relabel": "(allow svirt_agent_t etc_t (file (relabelfrom)))",
  "agent-write": "(allow svirt_agent_t etc_t (file (append)))",
  "agent-disks": "(allow svirt_agent_t device_t (blk_file (write)))",
  "agent-disks-frozen": "(allow svirt_agent_t svirt_fd_ro_t (blk_file (write)))",
  "agent-disks-off": "(allow svirt_agent_t device_t (blk_file (read)))",
  "agent-devices": "(allow svirt_agent_t device_t (chr_file (read)))",
  "agent-secrets": "(allow svirt_agent_t shadow_t (file (open)))",
  "agent-capabilities": "(allow svirt_agent_t self (capability (sys_admin)))",
  "agent-capabilities-devices": "(allow svirt_agent_t self (capability (sys_admin)))",
  "agent-capabilities2": "(allow svirt_agent_t self (capability2 (mac_admin)))",
  "agent-audit-off": "(allow svirt_agent_t self (capability2 (audit_read)))",
  "agent-audit-socket": "(allow svirt_agent_t self (netlink_audit_socket (nlmsg_write)))",
  "agent-policy": "(allow svirt_agent_t security_t (security (load_policy)))",
  "agent-policy-booleans": "(allow svirt_agent_t security_t (security (setenforce)))",
  "agent-booleans": `(type boolean_t) (roletype object_r boolean_t)
    (allow svirt_agent_t boolean_t (file (write)))`,
  "agent-processes": "(allow svirt_agent_t virtd_t (process (ptrace)))",
  "agent-guests": "(allow svirt_agent_t svirt_t (process (ptrace)))",
  "agent-network": "(allow svirt_agent_t self (tcp_socket (connect)))",
  "agent-entered": "(allow svirt_t svirt_agent_t (process (transition)))",
  "agent-entrypoint": "(allow svirt_agent_t bin_t (file (entrypoint)))",
  "agent-files-from-guests": "(allow svirt_t svirt_agent_cache_t (file (write)))",
  "agent-sockets-from-guests": "(allow svirt_t svirt_agent_t (unix_stream_socket (connectto)))",
  "agent-log": "(allow virtd_t svirt_agent_log_t (file (write)))",
};

/** Which a rule cannot break: a constraint is in the way, as long as there is one. */
const CONSTRAINED = ["other-scratch"];

describe("each bundled assertion", () => {
  const rules = Object.values(BREAKS).join("\n");
  const kernel = "(type kernel_t) (roletype system_r kernel_t)";
  const broken = idsOf("broken", withRule(`${kernel}\n${rules}`));

  for (const { id } of assertions) {
    if (CONSTRAINED.includes(id)) continue;
    it(`is broken by a rule: ${id}`, () => {
      assert.notEqual(BREAKS[id] ?? "", "", `no rule is known that breaks ${id}`);
      assert.ok(broken.includes(id));
    });
  }
});
