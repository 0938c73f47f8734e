import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { parseList } from "../../agent/policy/matrix/list_file.ts";
import type { PolicyAnswer } from "../../agent/policy/engine.ts";
import { crossGuestAccesses, kindOf } from "../../agent/policy/matrix/judge.ts";
import { makeMatrix } from "../../agent/policy/matrix/matrix.ts";
import type { ImageParty } from "../../agent/policy/matrix/party.ts";
import { compiled, readCil } from "../policy/compile.ts";

const engine = compiled(readCil("test/policy/small.cil"));
const PERMISSIONS = ["open", "read", "write", "map"];

const guest = (level: string, type = "guest_t") => ({
  context: `system_u:system_r:${type}:${level}`,
});
const image = (level: string, type = "image_t"): ImageParty => ({
  context: `system_u:object_r:${type}:${level}`,
  tclass: "file",
});

/** What is remarkable, as `kind relation permissions pairs`. */
function remarkable(...given: Parameters<typeof makeMatrix>): string[] {
  return makeMatrix(...given).groups.flatMap((group) => {
    const kind = kindOf(group);
    const { relation, reached, pairs } = group;
    return kind === undefined ? [] : [`${kind} ${relation} ${reached.join(",")} ${pairs}`];
  });
}

const LEVELS = ["s0", "s0:c0", "s0:c1", "s0:c0,c1", "s0:c1,c2", "s0:c0.c2"];
const anyLevel = fc.oneof(
  fc.constantFrom(...LEVELS),
  fc.constantFrom("s0-s0:c0.c2", "s0-s0:c1", "s0:c0-s0:c0,c1", "s0:c1-s0:c0.c2"),
);
const anyGuest = fc.tuple(
  anyLevel,
  fc.constantFrom("guest_t", "other_guest_t", "free_t", "child_t"),
)
  .map(([level, type]) => guest(level, type));
const anyImage = fc.tuple(anyLevel, fc.constantFrom("image_t", "nfs_t"))
  .map(([level, type]) => image(level, type));

describe("a matrix of guests and images", () => {
  it("says of every pair what the policy says when it is asked about that pair", () => {
    const property = fc.property(
      fc.array(anyGuest, { minLength: 1, maxLength: 8 }),
      fc.array(anyImage, { minLength: 1, maxLength: 8 }),
      (guests, images) => {
        const { groups } = makeMatrix({ guests, images }, PERMISSIONS, engine);
        let pairs = 0;
        for (const group of groups) {
          for (const [{ context: source }, { context: target }] of group.each()) {
            const [alone] = engine.ask([{ ...group.question, source, target }]);
            assert.deepEqual(answersOf(group.answer), answersOf(alone!), `${source} ${target}`);
            assert.equal(group.answer.permissive, alone!.permissive);
            pairs++;
          }
        }
        assert.equal(pairs, guests.length * images.length);
        assert.equal(pairs, groups.reduce((sum, group) => sum + group.pairs, 0));
      },
    );
    fc.assert(property, { seed: 7, numRuns: 200 });
  });

  it("tells whoever waits how many guests have been compared", () => {
    const guests = ["s0:c0", "s0:c1", "s0:c2", "s0:c2"].map((level) => guest(level));
    const told: string[] = [];
    makeMatrix({ guests, images: [image("s0:c0")] }, PERMISSIONS, engine, {}, (done, of) => {
      told.push(`${done} of ${of}`);
    });
    assert.deepEqual(told, ["0 of 3", "1 of 3", "2 of 3"]);
  });

  it("asks once what differs only in which categories there are", () => {
    const guests = ["s0:c0", "s0:c1", "s0:c2"].map((level) => guest(level));
    const images = ["s0:c0", "s0:c1", "s0:c2"].map((level) => image(level));
    const { groups } = makeMatrix({ guests, images }, PERMISSIONS, engine);
    assert.deepEqual(groups.map(({ relation, pairs }) => [relation, pairs]), [["own", 3], [
      "other",
      6,
    ]]);
  });

  it("finds a guest that another one's categories include, and nobody else", () => {
    const images = [image("s0:c1")];
    const both = { guests: [guest("s0:c1"), guest("s0:c0,c1"), guest("s0:c2")], images };
    assert.deepEqual(remarkable(both, PERMISSIONS, engine), ["cross-guest other read,write 1"]);
  });

  it("finds whoever may open and write what has no categories, but not who was handed it", () => {
    const parties = { guests: [guest("s0:c1")], images: [image("s0", "nfs_t")] };
    assert.deepEqual(remarkable(parties, PERMISSIONS, engine), []);
    const on = { use_nfs: true };
    const found = remarkable(parties, PERMISSIONS, engine, on);
    assert.deepEqual(found, ["cross-guest nobody open,read,write 1"]);
    const shared = remarkable(parties, ["open", "read"], engine, on);
    assert.deepEqual(shared, ["shared nobody open,read 1"]);
  });

  it("tells a guest that opens its own image from one that only uses it", () => {
    const parties = { guests: [guest("s0:c1")], images: [image("s0:c1")] };
    assert.deepEqual(remarkable(parties, PERMISSIONS, engine), []);
    const found = remarkable(parties, PERMISSIONS, engine, { open_all: true });
    assert.deepEqual(found, ["opens-own own open,read,write 1"]);
  });

  it("counts everything as allowed where the guest's domain is permissive", () => {
    const parties = { guests: [guest("s0:c1", "free_t")], images: [image("s0:c2")] };
    const matrix = makeMatrix(parties, PERMISSIONS, engine);
    assert.deepEqual(matrix.groups[0]!.reached, PERMISSIONS);
    assert.equal(crossGuestAccesses(matrix), 1);
  });

  it("names what the policy does not have, and never calls it denied", () => {
    const parties = {
      guests: [guest("s0:c1"), guest("s0:c1000"), guest("s0", "nobody_t")],
      images: [image("s0:c1")],
    };
    const { groups, unknown } = makeMatrix(parties, ["read", "fly"], engine);
    assert.deepEqual(unknown.map(({ missing }) => missing), [
      'context "system_u:system_r:guest_t:s0:c1000"',
      'type "nobody_t"',
    ]);
    assert.deepEqual(groups.map(kindOf), ["unknown"]);
  });

  it("finds guests that have the same categories, however these are written", () => {
    const guests = ["s0:c0,c1", "s0:c1,c0", "s0:c2", "s0", "s0"].map((level, i) => ({
      ...guest(level),
      name: `guest${i}`,
    }));
    const { shared } = makeMatrix({ guests, images: [] }, PERMISSIONS, engine);
    assert.deepEqual(shared.map(({ guests }) => guests.map(({ name }) => name)), [
      ["guest0", "guest1"],
    ]);
  });
});

/** Everything but the text of a constraint, which names no categories and may still differ in order. */
function answersOf({ decisions }: PolicyAnswer): unknown {
  return [...decisions].map((
    [permission, { answer, by, audited }],
  ) => [permission, answer, by, audited]);
}

describe("a list of guests and images", () => {
  it("has one a line, with a name or without, and comments", () => {
    const list = parseList(
      "hosts",
      "# who\n guest u:r:svirt_t:s0:c1,c2 web one # front\n\nimage u:object_r:i_t:s0:c1 /srv/a b.img\n" +
        "device u:object_r:d_t:s0\n",
    );
    assert.deepEqual(list, {
      guests: [{ context: "u:r:svirt_t:s0:c1,c2", name: "web one" }],
      images: [
        { context: "u:object_r:i_t:s0:c1", name: "/srv/a b.img", tclass: "file" },
        { context: "u:object_r:d_t:s0", tclass: "blk_file" },
      ],
    });
  });

  for (
    const [text, message] of [
      ["gest a:b:c", 'hosts:1: "gest" is neither guest nor image nor device'],
      ["\nguest", 'hosts:2: Cannot parse context "": expected "user:role:type[:level]"'],
      [
        "guest a:b:c:s0:c5.c1",
        'hosts:1: Cannot parse level "s0:c5.c1": expected "s0:c1,c5.c7" or "LOW-HIGH"',
      ],
    ] as const
  ) {
    it(`refuses ${JSON.stringify(text)} with its line`, () => {
      assert.throws(() => parseList("hosts", text), { name: "ConfigError", message });
    });
  }
});
