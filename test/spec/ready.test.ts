import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { exitStatusOf } from "../../agent/command/exit_status.ts";
import { INHERITED_NFS, requireClosed, requireEnforcing } from "../../agent/label/ready.ts";
import { classify, type StorageClass } from "../../agent/label/mount.ts";
import type { Context } from "../../agent/label/context.ts";
import { FakeSelinux } from "../fakes/host.ts";

/** The error that `work` throws, which has a hint. */
function refusal(work: () => void): Error & { hint: string } {
  try {
    work();
  } catch (error) {
    return error as Error & { hint: string };
  }
  throw new Error("It was not refused");
}

describe("a host where nothing could be promised", () => {
  const initrc: Context = { user: "system_u", role: "system_r", type: "initrc_t", level: "s0" };
  for (
    const [what, change, message, hint] of [
      [
        "SELinux is disabled",
        (it: FakeSelinux) => it.enforcement = "disabled",
        /SELinux is disabled on this host/,
        /security=selinux/,
      ],
      [
        "SELinux is permissive",
        (it: FakeSelinux) => it.enforcement = "permissive",
        /SELinux is permissive: it denies nothing/,
        /setenforce 1/,
      ],
      [
        "the module is not installed",
        (it: FakeSelinux) => it.types = [],
        /module svirt_agent is not installed/,
        /svirt-agent policy install/,
      ],
      [
        "the agent has no domain of its own",
        (it: FakeSelinux) => it.ownContext = () => initrc,
        /runs as initrc_t, not in its own domain svirt_agent_t/,
        /svirt_agent_exec_t/,
      ],
    ] as [string, (selinux: FakeSelinux) => void, RegExp, RegExp][]
  ) {
    it(`is told so where ${what}, with what to do, and exits with 3`, () => {
      const selinux = new FakeSelinux();
      change(selinux);
      const error = refusal(() => requireEnforcing(selinux));
      assert.match(error.message, message);
      assert.match(error.hint, hint);
      assert.equal(exitStatusOf(error), 3);
    });
  }

  it("is none where SELinux enforces a policy with the module", () => {
    requireEnforcing(new FakeSelinux());
  });
});

describe("storage without labels", () => {
  const mount = { id: 1n, device: "0:1", mountPoint: "/srv", source: "nas:/", options: ["rw"] };
  const on = (fsType: string, ...options: string[]): StorageClass =>
    classify({ ...mount, fsType, options: [...mount.options, ...options] });
  const closed = (storage: StorageClass, ...active: string[]) =>
    requireClosed([storage], {
      read(name) {
        const is = active.includes(name);
        return { name, active: is, pending: is, persistent: null };
      },
      all: () => new Map(),
      write() {},
    });

  for (
    const [fsType, boolean] of [
      ["nfs", "virt_use_nfs"],
      ["nfs4", "virt_use_nfs"],
      ["cifs", "virt_use_samba"],
      ["fuse.sshfs", "virt_use_fusefs"],
    ] as const
  ) {
    it(`on ${fsType} is refused while ${boolean} is on, with the command that ends it`, () => {
      const error = refusal(() => closed(on(fsType), boolean, INHERITED_NFS));
      assert.match(error.message, new RegExp(`^${boolean} is on: every guest can open`));
      assert.match(error.hint, new RegExp(`svirt-agent boolean set ${boolean} off`));
      assert.equal(exitStatusOf(error), 1);
    });
    it(`on ${fsType} is closed while ${boolean} is off`, () => closed(on(fsType), INHERITED_NFS));
  }

  it("on NFS is refused where the policy would drop every descriptor", () => {
    const error = refusal(() => closed(on("nfs4")));
    assert.match(error.message, /virt_read_write_nfs is off/);
    assert.match(error.hint, /boolean set virt_read_write_nfs on/);
    assert.equal(exitStatusOf(error), 1);
  });

  it("is no matter where files keep labels", () => closed(on("nfs4", "seclabel"), "virt_use_nfs"));
});
