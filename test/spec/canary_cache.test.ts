import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { AttachedGuest } from "../../agent/attached_guest.ts";
import { parseContext } from "../../agent/label/context.ts";
import { CanaryCache } from "../../agent/verify/canary_cache.ts";
import type { CanaryReport } from "../../agent/verify/canary_report.ts";
import { FakeHost } from "../fakes/host.ts";

/** As much of a guest as what a canary showed depends on. */
function guest(
  { context = "u:r:svirt_t:s0:c1,c2", uid = 64055, mounts = [1n] } = {},
): AttachedGuest {
  return {
    context: parseContext(context),
    credential: { uid, gid: uid, groups: [] },
    images: mounts.map((mountId) => ({ ro: { stat: () => ({ mountId }) } })),
  } as unknown as AttachedGuest;
}

/** A cache whose canaries are numbered by their pids. */
function counting(during: () => void = () => {}): CanaryCache {
  let pid = 0;
  return new CanaryCache(() => {
    during();
    return Promise.resolve({ pid: ++pid, attempts: [] } as unknown as CanaryReport);
  });
}

describe("what a canary showed", () => {
  it("holds for as long as nothing changes that it rests on", async () => {
    using host = new FakeHost();
    const cache = counting();
    assert.equal(cache.get(guest(), host), undefined);
    await cache.renew(guest(), host);
    assert.equal(cache.get(guest(), host)?.pid, 1);
    await cache.renew(guest(), host);
    assert.equal(cache.get(guest(), host)?.pid, 2, "asked for, it is always a new one");
  });

  for (
    const [what, changed, change] of [
      ["a policy load or a boolean", guest(), (host: FakeHost) => void host.selinux.policyLoad++],
      ["another mode", guest(), (host: FakeHost) => {
        host.selinux.enforcement = "permissive";
      }],
      ["another context", guest({ context: "u:r:svirt_t:s0:c1,c3" }), () => {}],
      ["another user", guest({ uid: 1000 }), () => {}],
      ["an image on another mount", guest({ mounts: [1n, 2n] }), () => {}],
    ] as [string, AttachedGuest, (host: FakeHost) => void][]
  ) {
    it(`is void after ${what}`, async () => {
      using host = new FakeHost();
      const cache = counting();
      await cache.renew(guest(), host);
      change(host);
      assert.equal(cache.get(changed, host), undefined);
    });
  }

  it("is not kept where the policy changed in the middle of it", async () => {
    using host = new FakeHost();
    const cache = counting(() => void host.selinux.policyLoad++);
    assert.equal((await cache.renew(guest(), host)).pid, 1);
    assert.equal(cache.get(guest(), host), undefined);
  });
});
