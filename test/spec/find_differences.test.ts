import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseContext } from "../../agent/label/context.ts";
import { dominates, parseLevel } from "../../agent/label/level.ts";
import type { Policy } from "../../agent/policy/live.ts";
import { type FileOfGuest, findDifferences } from "../../agent/verify/find_differences.ts";
import { otherGuests, otherLevel } from "../../agent/verify/other_guest.ts";
import { policyWitness } from "../../agent/verify/policy_witness.ts";
import { permissiveDifference } from "../../agent/verify/promise.ts";

const GUEST = parseContext("system_u:system_r:svirt_tcg_t:s0:c1,c2");
const AGENT = parseContext("system_u:system_r:svirt_agent_t:s0");
const OTHERS = otherGuests(GUEST, ["svirt_t", "svirt_tcg_t"]);

/** What the agent's module and the distribution's policy say, as `target permission`. */
const GOOD = [
  "svirt_agent_t use",
  ...["getattr", "read", "write", "append"].map((it) => `svirt_fd_image_t ${it}`),
  ...["getattr", "read"].map((it) => `svirt_fd_ro_t ${it}`),
  ...["getattr", "read", "write", "append"].map((it) => `nfs_t ${it}`),
];

/** A policy of these rules for every guest, with a constraint on categories as the real ones have. */
function policyOf(allowed: readonly string[], constrains = true): Policy {
  return {
    access: (source, target, targetClass) => ({
      permissive: false,
      decide(permission) {
        if (!allowed.includes(`${target.type} ${permission}`)) {
          return { answer: "denied", by: "te" };
        }
        const separate = constrains && targetClass === "file" && permission !== "map" &&
          !dominates(parseLevel(source.level!), parseLevel(target.level!));
        return separate ? { answer: "denied", by: "constraint" } : { answer: "allowed", by: "te" };
      },
    }),
  };
}

/** The files a guest may have: its label and what the agent knows of it. */
function file(
  label: string,
  access: "ro" | "rw",
  { shared = false, keepsLabels = true } = {},
): FileOfGuest & { readonly label: string } {
  return { label, layer: { path: "/srv/disk", access, shared }, storage: { keepsLabels } };
}
const IMAGE = file("svirt_fd_image_t:s0:c1,c2", "rw");
const FROZEN = file("svirt_fd_ro_t:s0:c1,c2", "ro");
const BASE = file("svirt_fd_ro_t:s0", "ro", { shared: true });
const ON_NFS = file("nfs_t:s0", "rw", { keepsLabels: false });

function found(image: typeof IMAGE, policy: Policy) {
  const label = parseContext(`system_u:object_r:${image.label}`);
  const { verdict } = policyWitness(GUEST, label, AGENT, policy);
  return findDifferences(GUEST, label, image, verdict, OTHERS, policy);
}

describe("a policy as it has to be", () => {
  for (
    const [what, image] of Object.entries({
      "a guest's image": IMAGE,
      "a frozen image": FROZEN,
      "a base that guests share": BASE,
      "an image without a label of its own": ON_NFS,
    })
  ) {
    it(`differs in nothing for ${what}`, () => {
      assert.deepEqual(found(image, policyOf(GOOD)).differences, []);
    });
  }
});

describe("a policy with one rule too many breaks a promise, by name", () => {
  const own = "promise 1, inherited, never opened";
  const others = "promise 2, nobody else's";
  const frozen = "promise 3, frozen means frozen";
  for (
    const [rule, image, promise] of [
      ["svirt_fd_image_t open", IMAGE, own],
      ["svirt_fd_image_t map", IMAGE, own],
      ["svirt_fd_image_t lock", IMAGE, own],
      ["svirt_fd_image_t execute", IMAGE, own],
      ["svirt_fd_image_t relabelfrom", IMAGE, frozen],
      ["svirt_fd_ro_t relabelto", FROZEN, frozen],
      ["svirt_fd_ro_t open", FROZEN, own],
      ["svirt_fd_ro_t map", FROZEN, own],
      ["svirt_fd_ro_t write", FROZEN, frozen],
      ["svirt_fd_ro_t append", FROZEN, frozen],
      ["svirt_fd_ro_t write", BASE, others],
      ["svirt_fd_ro_t append", BASE, others],
      ["nfs_t open", ON_NFS, own],
      ["nfs_t open", ON_NFS, others],
    ] as const
  ) {
    it(`${rule}: ${promise}${image.layer.shared ? ", of a base" : ""}`, () => {
      const { differences } = found(image, policyOf([...GOOD, rule]));
      const difference = differences.find(({ text }) => text.endsWith(promise));
      assert.ok(difference, JSON.stringify(differences));
      assert.match(difference.text, /^"\/srv\/disk": /);
      assert.match(difference.hint, new RegExp(`sesearch .*${rule.split(" ")[0]}`));
    });
  }
});

describe("a policy with one rule too few", () => {
  for (
    const [rule, image] of [
      ["svirt_agent_t use", IMAGE],
      ["svirt_fd_image_t write", IMAGE],
      ["svirt_fd_ro_t read", BASE],
      ["nfs_t write", ON_NFS],
    ] as const
  ) {
    it(`${rule}: breaks no promise, and the guest cannot use what it was handed`, () => {
      const { differences } = found(image, policyOf(GOOD.filter((it) => it !== rule)));
      assert.equal(differences.length, 1);
      assert.match(differences[0]!.text, /expected allowed: the guest cannot use/);
      assert.match(differences[0]!.hint, /svirt-agent policy install/);
    });
  }
});

describe("a policy whose categories separate nothing", () => {
  const told = (image: typeof IMAGE) =>
    found(image, policyOf(GOOD, false)).differences.map(({ text }) => text);

  it("lets other guests read and write an image: promise 2, once for each domain of guests", () => {
    assert.deepEqual(
      told(IMAGE),
      ["svirt_tcg_t", "svirt_t"].map((type) =>
        `"/srv/disk": another guest (system_u:system_r:${type}:s0:c1022,c1023) ` +
        "could read, write it: promise 2, nobody else's"
      ),
    );
  });

  it("lets them read a frozen one", () => {
    assert.equal(told(FROZEN).length, 2);
    for (const text of told(FROZEN)) assert.match(text, /could read it: promise 2/);
  });

  it("changes nothing for what has no categories", () => {
    assert.deepEqual([...told(BASE), ...told(ON_NFS)], []);
  });

  it("is told with where to look", () => {
    const [difference] = found(IMAGE, policyOf(GOOD, false)).differences;
    assert.match(difference!.hint, /seinfo -a mcs_constrained_type -x/);
  });
});

it("append alone lets another guest write: it may set O_APPEND on a descriptor", () => {
  const { differences } = found(BASE, policyOf([...GOOD, "svirt_fd_ro_t append"]));
  assert.equal(
    differences.filter(({ text }) => /another guest .* could write it/.test(text)).length,
    2,
  );
});

it("another guest that nobody could ask about differs: unknown is not denied", () => {
  const policy: Policy = {
    access: (source, target, targetClass) =>
      OTHERS.some(({ level }) => level === source.level)
        ? { permissive: false, decide: () => ({ answer: "unknown", by: "unknown" }) }
        : policyOf(GOOD).access(source, target, targetClass),
  };
  assert.equal(found(IMAGE, policy).differences.length, OTHERS.length);
});

describe("the level of another guest", () => {
  for (
    const [own, other] of [
      ["s0:c1,c2", "s0:c1022,c1023"],
      ["s0:c1,c1023", "s0:c1021,c1022"],
      ["s0:c1022,c1023", "s0:c1020,c1021"],
      ["s0:c0.c1022", "s0:c1023"],
      ["s0", "s0:c1022,c1023"],
    ] as const
  ) {
    it(`is ${other} beside ${own}`, () => assert.equal(otherLevel(own), other));
  }

  it("neither dominates nor is dominated by two categories, whichever they are", () => {
    for (let one = 0; one < 1023; one += 31) {
      for (let two = one + 1; two <= 1023; two += 97) {
        const own = `s0:c${one},c${two}`;
        const [a, b] = [parseLevel(own), parseLevel(otherLevel(own))];
        assert.ok(!dominates(a, b) && !dominates(b, a), own);
      }
    }
  });

  it("is that of one guest in each domain, the guest's own among them", () => {
    assert.deepEqual(otherGuests(GUEST, ["svirt_t"]).map(({ type }) => type), [
      "svirt_tcg_t",
      "svirt_t",
    ]);
  });
});

describe("a permissive domain", () => {
  it("breaks promises 1 and 2 where it is the guest's own, and 2 where it is another's", () => {
    assert.match(
      permissiveDifference("a_t", "a_t").text,
      /a_t is permissive.*promise 1.*promise 2/,
    );
    const { text, hint } = permissiveDifference("b_t", "a_t");
    assert.match(text, /promise 2/);
    assert.doesNotMatch(text, /promise 1/);
    assert.match(hint, /semanage permissive -d b_t/);
  });
});
