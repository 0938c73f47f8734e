import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Context, parseContext } from "../../agent/label/context.ts";
import type { Policy } from "../../agent/policy/live.ts";
import { DroppedError } from "../../agent/qmp/fdset.ts";
import { missingToReceive } from "../../agent/verify/missing.ts";
import { FakeSelinux } from "../fakes/host.ts";

const GUEST = parseContext("system_u:system_r:svirt_t:s0:c1,c2");
const IMAGE = parseContext("system_u:object_r:svirt_fd_ro_t:s0:c1,c2");

/** Allows what is listed as `class permission`, of whichever target. */
function policyOf(...allowed: string[]): Policy {
  return {
    access: (_source: Context, _target: Context, targetClass: string) => ({
      permissive: false,
      decide: (permission) =>
        allowed.includes(`${targetClass} ${permission}`)
          ? { answer: "allowed", by: "te" }
          : { answer: "denied", by: "te" },
    }),
  };
}

describe("what a dropped descriptor lacked", () => {
  // deno-fmt-ignore
  const CASES = [
    ["rw", ["fd use", "file read"],               ["svirt_t svirt_fd_ro_t:file { write }"]],
    ["rw", ["fd use"],                            ["svirt_t svirt_fd_ro_t:file { read write }"]],
    ["ro", ["fd use"],                            ["svirt_t svirt_fd_ro_t:file { read }"]],
    ["ro", ["file read", "file write"],           ["svirt_t svirt_agent_t:fd { use }"]],
    ["rw", ["file read"], ["svirt_t svirt_agent_t:fd { use }", "svirt_t svirt_fd_ro_t:file { write }"]],
    ["ro", ["fd use", "file read"],               []],
    ["rw", ["fd use", "file read", "file write"], []],
  ] as const;
  for (const [access, allowed, missing] of CASES) {
    it(`${access}, where the policy allows ${allowed.join(", ")}: ${missing.join(" and ") || "nothing"}`, () => {
      const selinux = new FakeSelinux();
      const found = missingToReceive(GUEST, IMAGE, access, {
        selinux,
        policy: policyOf(...allowed),
      });
      assert.deepEqual(found, missing);
    });
  }

  it("stands in the message, beside the image", () => {
    const { message } = new DroppedError("/srv/a.raw", ["a_t b_t:file { write }"]);
    assert.match(message, /"\/srv\/a\.raw".*the policy lacks a_t b_t:file \{ write \}/);
  });
});
