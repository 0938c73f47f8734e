import { describe, it } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import {
  decide,
  type GrantRequest,
  type GrantState,
  type ImageUser,
  type RefusalReason,
} from "../../agent/grant/decide.ts";

const BASE: GrantRequest = {
  guest: "web1",
  image: "root",
  path: "/srv/nfs/base.qcow2",
  identity: "0:42:1000",
  access: "ro",
  shared: false,
  reason: "attach",
};

const held = (...users: readonly ImageUser[]): GrantState => ({ references: () => users });

/** `web2 root ro shared` */
function user(text: string): ImageUser {
  const [guest, image, access, shared] = text.split(" ") as [string, string, "ro" | "rw", string?];
  return { guest, image, access, shared: shared === "shared" };
}

function answer(request: string, ...users: readonly string[]): "granted" | RefusalReason {
  const isLease = request.endsWith(" commit");
  const decision = decide({
    ...BASE,
    ...user(request),
    ...(isLease && { reason: "commit", deadline: "2030-01-01T00:00:00Z" }),
  }, held(...users.map(user)));
  return decision.granted ? "granted" : decision.reason;
}

describe("decide", () => {
  // Everything that one guest may ask for, against everything that one image may hold already.
  const asked = ["ro", "ro shared", "rw", "rw shared", "rw commit"] as const;
  for (
    const [holder, ...answers] of [
      // deno-fmt-ignore
      ["nobody",           "granted",           "granted",           "granted",    "write-to-shared", "granted"],
      // deno-fmt-ignore
      ["web2 root ro",        "shared-not-agreed", "shared-not-agreed", "referenced", "write-to-shared", "lease-referenced"],
      // deno-fmt-ignore
      ["web2 root ro shared", "shared-not-agreed", "granted",           "referenced", "write-to-shared", "lease-referenced"],
      // deno-fmt-ignore
      ["web2 root rw",        "referenced",        "referenced",        "referenced", "write-to-shared", "lease-referenced"],
      // deno-fmt-ignore
      ["web2 root rw shared", "referenced",        "referenced",        "referenced", "write-to-shared", "lease-referenced"],
      // deno-fmt-ignore
      ["web1 root ro",        "granted",           "granted",           "granted",    "write-to-shared", "granted"],
      // deno-fmt-ignore
      ["web1 root ro shared", "granted",           "granted",           "granted",    "write-to-shared", "granted"],
      // deno-fmt-ignore
      ["web1 root rw",        "granted",           "granted",           "granted",    "write-to-shared", "granted"],
      // deno-fmt-ignore
      ["web1 data ro",        "twice",             "twice",             "twice",      "write-to-shared", "twice"],
      // deno-fmt-ignore
      ["web1 data ro shared", "twice",             "twice",             "twice",      "write-to-shared", "twice"],
      // deno-fmt-ignore
      ["web1 data rw",        "twice",             "twice",             "twice",      "write-to-shared", "twice"],
    ] as const
  ) {
    for (const [i, request] of asked.entries()) {
      it(`web1 asks for ${request}, ${holder} has it: ${answers[i]}`, () => {
        const users = holder === "nobody" ? [] : [holder];
        assert.equal(answer(`web1 root ${request}`, ...users), answers[i]);
      });
    }
  }

  it("looks at every user, not only the first", () => {
    const shared = "web2 root ro shared";
    assert.equal(answer("web1 root ro shared", shared, "web3 root ro shared"), "granted");
    assert.equal(answer("web1 root ro shared", shared, "web3 root ro"), "shared-not-agreed");
    assert.equal(answer("web1 root ro shared", shared, "web2 root rw"), "referenced");
    assert.equal(answer("web1 root rw", "web1 root ro", shared), "referenced");
    assert.equal(answer("web1 root ro shared", shared, "web1 data ro shared"), "twice");
  });

  it("asks about the inode, whatever its path is called", () => {
    const asked: string[] = [];
    decide({ ...BASE, path: "/elsewhere" }, {
      references: (identity) => (asked.push(identity), []),
    });
    assert.deepEqual(asked, [BASE.identity]);
  });

  it("answers what to remember and when it ends", () => {
    const request: GrantRequest = {
      ...BASE,
      access: "rw",
      reason: "commit",
      deadline: "2030-01-01T00:00:00Z",
    };
    assert.deepEqual(decide(request, held()), {
      granted: true,
      user: { guest: "web1", image: "root", access: "rw", shared: false },
      deadline: "2030-01-01T00:00:00Z",
    });
    assert.deepEqual(decide(BASE, held()), {
      granted: true,
      user: { guest: "web1", image: "root", access: "ro", shared: false },
      deadline: null,
    });
  });

  it("refuses a lease without an end", () => {
    const decision = decide({ ...BASE, access: "rw", reason: "commit" }, held());
    assert(!decision.granted);
    assert.equal(decision.reason, "no-deadline");
  });

  for (
    const [reason, request, holder, text, hint] of [
      [
        "referenced",
        "web1 root rw",
        "web2 data ro shared",
        'web1 (image root) may not write "/srv/nfs/base.qcow2": web2 (image data) reads it.',
        /Detach web2 \(image data\), or put an overlay/,
      ],
      [
        "referenced",
        "web1 root ro shared",
        "web2 data rw",
        'web1 (image root) may not read "/srv/nfs/base.qcow2": web2 (image data) may write it.',
        /Detach web2 \(image data\) first/,
      ],
      [
        "lease-referenced",
        "web1 root rw commit",
        "web2 data ro shared",
        'web1 (image root) may not write "/srv/nfs/base.qcow2": web2 (image data) uses it, ' +
        "and would see its disk change.",
        /commit into a copy/,
      ],
      [
        "shared-not-agreed",
        "web1 root ro shared",
        "web2 data ro",
        'web1 (image root) may not read "/srv/nfs/base.qcow2": web2 (image data) reads it, ' +
        "and the guest file of web2 does not share it.",
        /Set shared = true .* of web2, if/,
      ],
      [
        "shared-not-agreed",
        "web1 root ro",
        "web2 data ro",
        'web1 (image root) may not read "/srv/nfs/base.qcow2": web2 (image data) reads it, ' +
        "and the guest file of web1 and of web2 does not share it.",
        /of web1 and of web2/,
      ],
      [
        "twice",
        "web1 root ro",
        "web1 data ro",
        'web1 (image root) may not read "/srv/nfs/base.qcow2": it has it already as ' +
        "web1 (image data); taking one away would leave the other.",
        /file of its own/,
      ],
    ] as const
  ) {
    it(`names who is in the way of "${request}": ${reason}`, () => {
      const isLease = request.endsWith("commit");
      const decision = decide({
        ...BASE,
        ...user(request),
        ...(isLease && { reason: "commit", deadline: "2030-01-01T00:00:00Z" }),
      }, held(user(holder)));
      assert(!decision.granted);
      assert.equal(decision.text, text);
      assert.match(decision.hint, hint);
    });
  }

  it("over any sequence of grants and releases no two guests hold an inode that one may write, or that one does not share", () => {
    const step = fc.record({
      guest: fc.constantFrom("web1", "web2", "web3"),
      image: fc.constantFrom("root", "data"),
      identity: fc.constantFrom<GrantRequest["identity"]>("0:42:1", "0:42:2"),
      access: fc.constantFrom("ro", "rw"),
      shared: fc.boolean(),
      reason: fc.constantFrom("attach", "commit"),
      deadline: fc.constantFrom(undefined, "2030-01-01T00:00:00Z"),
      release: fc.boolean(),
    });
    let granted = 0;
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const users = new Map<GrantRequest["identity"], ImageUser[]>();
        const references = (identity: GrantRequest["identity"]) => users.get(identity) ?? [];
        for (const { release, ...asked } of steps) {
          const now = references(asked.identity);
          if (release) {
            users.set(asked.identity, now.filter(({ guest }) => guest !== asked.guest));
            continue;
          }
          const decision = decide({ ...asked, path: "/srv/a" }, { references });
          if (!decision.granted) continue;
          granted++;
          users.set(asked.identity, [...now, decision.user]);
          for (const held of users.values()) {
            for (const a of held) {
              for (const b of held) {
                if (a.guest === b.guest) assert.equal(a.image, b.image);
                else assert(a.access === "ro" && b.access === "ro" && a.shared && b.shared);
              }
            }
          }
        }
      }),
      { numRuns: 500 },
    );
    assert(granted > 100, "the property must not hold because nothing is ever granted");
  });
});
