import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import type { AttachedGuest } from "../../agent/attached_guest.ts";
import { parseContext } from "../../agent/label/context.ts";
import { watchOpening } from "../../agent/service/opening_watch.ts";
import type { Answer } from "../../agent/verify/verdict.ts";
import { FakeHost } from "../fakes/host.ts";

/** A guest whose only image is on NFS, as far as the watch looks at it. */
const ATTACHED = {
  guest: { name: "web1" },
  context: parseContext("system_u:system_r:svirt_t:s0:c1,c2"),
  images: [{ label: parseContext("system_u:object_r:nfs_t:s0") }],
} as unknown as AttachedGuest;

/** A host whose policy can be told what it answers. */
class ToldHost extends FakeHost {
  open: Answer = "denied";
  permissive = false;
  override readonly policy: FakeHost["policy"] = {
    access: () => ({
      permissive: this.permissive,
      decide: () => ({ answer: this.open, by: "te" }),
    }),
  };
}

/** What the watch says, and what it records, when this happens on a host. */
async function happens(
  change: (host: ToldHost) => void,
): Promise<{ told: string[]; ids: string[] }> {
  using host = new ToldHost();
  host.known = ["virt_use_nfs", "use_nfs_home_dirs"];
  const told: string[] = [];
  using _watch = watchOpening(ATTACHED, host, (what) => told.push(what), 5);
  change(host);
  host.selinux.policyLoad++;
  await new Promise((resolve) => setTimeout(resolve, 100));
  const lines = readFileSync(host.log.path, "utf8").split("\n").filter(Boolean);
  const records = lines.map((line) => JSON.parse(line));
  return { told, ids: records.filter(({ event }) => event === "finding").map(({ id }) => id) };
}

describe("the watch for what opens a guest's images", () => {
  it("says which boolean was switched on, whichever it is", async () => {
    const { told, ids } = await happens((host) => {
      host.on.add("use_nfs_home_dirs");
      host.open = "allowed";
    });
    assert.deepEqual(told, [
      "use_nfs_home_dirs was switched on: the guest can open images by path",
    ]);
    assert.deepEqual(ids, ["boolean-on"]);
  });
  it("says nothing of a boolean that opens nothing, and of a policy that is as good", async () => {
    assert.deepEqual((await happens((host) => host.on.add("use_nfs_home_dirs"))).told, []);
    assert.deepEqual((await happens(() => {})).told, []);
  });
  it("says that a policy was loaded which lets the guest open them", async () => {
    const { told, ids } = await happens((host) => host.open = "allowed");
    assert.match(told[0]!, /policy was loaded.*the guest can open images by path$/);
    assert.deepEqual(ids, ["guest-can-open"]);
  });
  it("takes an unknown answer, or a label that is gone, for the worst", async () => {
    assert.equal((await happens((host) => host.open = "unknown")).told.length, 1);
    const { told } = await happens((host) => host.selinux.types = ["svirt_t"]);
    assert.match(told[0]!, /does not know system_u:object_r:nfs_t:s0 any more$/);
  });
  it("sees what happened between the guest's verification and its first look", async () => {
    using host = new ToldHost();
    host.open = "allowed";
    const told: string[] = [];
    using _watch = watchOpening(ATTACHED, host, (what) => told.push(what), 5);
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.deepEqual(told, ["the guest can open images by path"]);
  });
  it("takes a policy that cannot be asked for the worst, says so once, and asks again", async () => {
    using host = new ToldHost();
    let fails = true;
    const told: string[] = [];
    const asked = {
      access: () => {
        if (fails) throw new Error("Invalid argument");
        return { permissive: false, decide: () => ({ answer: host.open, by: "te" } as const) };
      },
    };
    const broken = Object.assign(Object.create(host), { policy: asked });
    using _watch = watchOpening(ATTACHED, broken, (what) => told.push(what), 5);
    const wait = () => new Promise((resolve) => setTimeout(resolve, 60));
    await wait();
    assert.equal(told.length, 1);
    assert.match(told[0]!, /^nobody can tell .*: Invalid argument$/);
    fails = false;
    await wait();
    host.open = "allowed";
    host.selinux.policyLoad++;
    await wait();
    assert.equal(told.length, 2);
  });
  it("says that the guest's domain, or all of SELinux, is permissive", async () => {
    assert.match(
      (await happens((host) => host.permissive = true)).told[0]!,
      /svirt_t is permissive/,
    );
    const { told } = await happens((host) => host.selinux.enforcement = "permissive");
    assert.match(told[0]!, /^SELinux is permissive: /);
  });
});
