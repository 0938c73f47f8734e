import { describe, it } from "node:test";
import assert from "node:assert/strict";
import type { BooleanState } from "../../agent/label/boolean.ts";
import {
  type BooleanPlan,
  describeBooleanPlan,
  type FileUse,
  type HostUse,
  planBoolean,
  type ProcessUse,
} from "../../agent/label/boolean_plan.ts";
import { type Context, parseContext } from "../../agent/label/context.ts";
import { type Mount, parseMountinfo } from "../../agent/label/mount.ts";

const mounts = [
  ...parseMountinfo(`
30 1 254:0 / / rw - ext4 /dev/vda rw,seclabel
31 30 0:42 / /srv/nfs rw - nfs4 nas:/vm rw,vers=4.2
32 30 0:43 / /srv/labelled rw - nfs4 nas:/lab rw,seclabel,vers=4.2
33 30 0:44 / /srv/one rw - nfs4 nas:/one rw,context=system_u:object_r:virt_image_t:s0
34 30 0:45 / /srv/smb rw - cifs //nas/vm rw
`).values(),
];
const [root, nfs, labelled, one, smb] = mounts as [Mount, Mount, Mount, Mount, Mount];

const guestAt = (level: string) => parseContext(`system_u:system_r:svirt_t:${level}`);

function process(pid: number, context: Context, open: ProcessUse["open"]): ProcessUse {
  return { pid, context, command: `command${pid}`, open };
}

const processes: readonly ProcessUse[] = [
  process(101, guestAt("s0:c1,c2"), [
    { path: "/srv/nfs/web1.raw", identity: "0:42:1", mode: "rw", mount: nfs },
    { path: "/srv/nfs/stolen.raw", identity: "0:42:9", mode: "ro", mount: nfs },
    { path: "/usr/bin/qemu", identity: "254:0:7", mode: "ro", mount: root },
    { path: "/srv/labelled/a.raw", identity: "0:43:1", mode: "rw", mount: labelled },
    { path: "/srv/one/a.raw", identity: "0:44:1", mode: "rw", mount: one },
    { path: "/srv/smb/a.raw", identity: "0:45:1", mode: "rw", mount: smb },
  ]),
  process(102, parseContext("system_u:system_r:virtd_t:s0-s0:c0.c1023"), [
    { path: "/srv/nfs/pool.xml", identity: "0:42:5", mode: "ro", mount: nfs },
  ]),
  process(103, parseContext("unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023"), [
    { path: "/srv/nfs/notes", identity: "0:42:6", mode: "rw", mount: nfs },
  ]),
];

const fedora: HostUse = {
  processes,
  mounts,
  isGuest: (domain) => domain.startsWith("svirt_"),
  isGoverned: (domain) => ["svirt_t", "virtd_t"].includes(domain),
  wasPassed: (pid, identity) => pid === 101 && identity === "0:42:1",
  inheritedUse: "allowed",
};
const debian: HostUse = { ...fedora, inheritedUse: "denied" };

const ON: BooleanState = { name: "virt_use_nfs", active: true, pending: true, persistent: true };
const OFF: BooleanState = {
  name: "virt_use_nfs",
  active: false,
  pending: false,
  persistent: false,
};
const paths = (uses: readonly FileUse[]) => uses.map(({ pid, path }) => `${pid} ${path}`);
const WEB1 = "101 /srv/nfs/web1.raw";
const STOLEN = "101 /srv/nfs/stolen.raw";
const POOL = "102 /srv/nfs/pool.xml";

describe("turning virt_use_nfs off", () => {
  const plan = planBoolean(ON, false, fedora);

  it("concerns NFS without labels only: not labelled NFS, not context=, not CIFS", () => {
    assert.deepEqual(plan.mounts, [nfs]);
  });

  it("leaves guests what they have open where the policy allows inherited use", () => {
    assert.deepEqual(paths(plan.cannotReopen), [WEB1, STOLEN]);
    assert.deepEqual(paths(plan.lost), [POOL]);
  });

  it("lists what a guest opened itself and can go on using, not what the agent passed", () => {
    assert.deepEqual(paths(plan.staysUsable), [STOLEN]);
  });

  it("takes all from guests at once where the policy has nothing for them without it", () => {
    const plan = planBoolean(ON, false, debian);
    assert.deepEqual(paths(plan.lost), [WEB1, STOLEN, POOL]);
    assert.deepEqual(plan.cannotReopen, []);
    assert.deepEqual(plan.staysUsable, []);
  });

  it("takes a guest's descriptors for usable when nobody knows, and says so", () => {
    const plan = planBoolean(ON, false, { ...fedora, inheritedUse: "unknown" });
    assert.deepEqual(paths(plan.staysUsable), [STOLEN]);
    assert.match(plan.warnings.join(), /could not be found out/);
  });

  it("takes nothing from a domain that does not depend on the boolean", () => {
    for (const host of [fedora, debian]) {
      const { lost, cannotReopen, staysUsable } = planBoolean(ON, false, host);
      for (const { pid } of [...lost, ...cannotReopen, ...staysUsable]) assert.notEqual(pid, 103);
    }
  });
});

describe("another boolean", () => {
  it("decides for its own filesystem", () => {
    const plan = planBoolean({ ...ON, name: "virt_use_samba" }, false, fedora);
    assert.deepEqual(plan.mounts, [smb]);
    assert.deepEqual(paths(plan.staysUsable), ["101 /srv/smb/a.raw"]);
  });

  it("that has nothing to do with storage decides for none", () => {
    const plan = planBoolean({ ...ON, name: "virt_use_usb" }, false, fedora);
    assert.deepEqual([plan.mounts, plan.lost, plan.cannotReopen, plan.staysUsable], [
      [],
      [],
      [],
      [],
    ]);
  });
});

describe("a change that takes nothing away", () => {
  for (
    const [what, state, to] of [
      ["turning it on", OFF, true],
      ["leaving it off", OFF, false],
      ["leaving it on", ON, true],
    ] as const
  ) {
    it(`is ${what}`, () => {
      const { lost, cannotReopen, staysUsable } = planBoolean(state, to, debian);
      assert.deepEqual([lost, cannotReopen, staysUsable], [[], [], []]);
    });
  }
});

describe("a plan warns", () => {
  for (
    const [what, state, to, warning] of [
      ["that on lets guests open everything there", { ...OFF, persistent: true }, true, [
        /^Guests may then open every file there/,
      ]],
      ["that off does not outlast a boot", ON, false, [/on again after the next boot; --persist/]],
      ["that on does not outlast a boot", OFF, true, [
        /off again after the next boot/,
        /every file/,
      ]],
      ["when the next boot is unknown", { ...ON, persistent: null }, false, [
        /could not be read: setsebool -P virt_use_nfs off/,
      ]],
      ["when somebody is about to turn it on", { ...OFF, pending: true }, false, [
        /about to turn virt_use_nfs on/,
      ]],
      ["of nothing when all is said", { ...ON, persistent: false }, false, []],
    ] as const
  ) {
    it(what, () => {
      const { warnings } = planBoolean(state, to, fedora);
      assert.equal(warnings.length, warning.length, warnings.join("\n"));
      for (const [i, pattern] of warning.entries()) assert.match(warnings[i]!, pattern);
    });
  }
});

describe("describeBooleanPlan", () => {
  it("prints the mounts, the losers, what stays and the command", () => {
    assert.deepEqual(describeBooleanPlan(planBoolean(ON, false, fedora)), [
      "virt_use_nfs: on -> off",
      "It decides for:",
      "  /srv/nfs  nfs4  nas:/vm",
      "Lose access at once:",
      "  102 command102  virtd_t:s0-s0:c0.c1023  ro  /srv/nfs/pool.xml",
      "Keep what they have open, and cannot open it again:",
      "  101 command101  svirt_t:s0:c1,c2  rw  /srv/nfs/web1.raw",
      "  101 command101  svirt_t:s0:c1,c2  ro  /srv/nfs/stolen.raw",
      "Opened by a guest itself, usable until it ends:",
      "  101 command101  svirt_t:s0:c1,c2  ro  /srv/nfs/stolen.raw",
      "It is on again after the next boot; --persist keeps it off.",
      "Do it: svirt-agent boolean set virt_use_nfs off",
    ]);
  });

  it("has no command where nothing changes", () => {
    assert.deepEqual(describeBooleanPlan(planBoolean(OFF, false, { ...fedora, mounts: [] })), [
      "virt_use_nfs is off",
      "No mounted filesystem depends on it.",
    ]);
  });

  it("lets no process paint the terminal with its name", () => {
    const [hostile] = processes;
    const plan: BooleanPlan = planBoolean(ON, false, {
      ...fedora,
      processes: [{ ...hostile!, command: "\x1b[2Jqemu" }],
    });
    assert.doesNotMatch(describeBooleanPlan(plan).join(), /\p{Cc}/u);
  });
});
