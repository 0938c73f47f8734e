import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { AttachedImage } from "../../agent/attached_guest.ts";
import { classify } from "../../agent/label/mount.ts";
import {
  type CanaryAttempt,
  type CanaryReport,
  canaryWitness,
  disagreements,
  isAsExpected,
  stateOf,
} from "../../agent/verify/canary_report.ts";
import type { Decision, Verdict } from "../../agent/verify/verdict.ts";

const ALLOWED: Decision = { answer: "allowed", by: "te" };
const DENIED: Decision = { answer: "denied", by: "te" };
const BY_MODE: Decision = { answer: "denied", by: "dac" };
const UNKNOWN: Decision = { answer: "denied", by: "unknown" };

const mount = { id: 1n, device: "0:1", mountPoint: "/srv", source: "nas:/", options: ["rw"] };
const STORAGE = {
  ext4: classify({ ...mount, fsType: "ext4", options: ["rw", "seclabel"] }),
  nfs: classify({ ...mount, fsType: "nfs4" }),
};

/** As much of an attached image as the witness looks at. */
function image(
  storage: keyof typeof STORAGE,
  access: "ro" | "rw",
  { shared = false, mountId = 7n } = {},
): AttachedImage {
  return {
    layer: { access, shared },
    storage: STORAGE[storage],
    ro: { stat: () => ({ mountId }) },
  } as unknown as AttachedImage;
}

function attempt(
  state: CanaryAttempt["state"],
  by: CanaryAttempt["by"],
  decision: Decision,
  serial?: number,
): CanaryAttempt {
  return {
    mount: 7,
    state,
    label: "",
    by,
    path: "",
    expected: "denied",
    asExpected: true,
    decision,
    ...(serial !== undefined && { avc: { serial, denied: ["open"] } }),
  };
}

function report(...attempts: CanaryAttempt[]): CanaryReport {
  return { pid: 1, context: "", time: "", attempts, asExpected: true };
}

describe("which of a canary file's labels stands for an image", () => {
  for (
    const [what, given, state] of [
      ["one that its guest writes", image("ext4", "rw"), "writable"],
      ["a frozen or private backing file", image("ext4", "ro"), "frozen"],
      ["a base that guests share", image("ext4", "ro", { shared: true }), "shared"],
      ["any on storage without labels", image("nfs", "rw"), "unlabelled"],
    ] as const
  ) {
    it(`${what}: ${state}`, () => assert.equal(stateOf(given), state));
  }
});

describe("a canary's attempt", () => {
  it("that is denied has to be denied by SELinux", () => {
    assert.ok(isAsExpected("path", "denied", DENIED));
    for (const decision of [BY_MODE, UNKNOWN, ALLOWED]) {
      assert.ok(!isAsExpected("path", "denied", decision), JSON.stringify(decision));
    }
  });

  it("to make a file may be denied by the folder's mode, and by nothing unknown", () => {
    assert.ok(isAsExpected("create", "denied", BY_MODE));
    assert.ok(!isAsExpected("create", "denied", UNKNOWN));
  });
});

describe("a canary as a witness on an image", () => {
  const shown = report(
    attempt("writable", "fdset", ALLOWED),
    attempt("writable", "path", DENIED, 11),
    attempt("writable", "proc-fd", DENIED, 12),
    attempt("writable", "write", ALLOWED),
    attempt("frozen", "path", DENIED, 13),
    attempt("frozen", "proc-fd", ALLOWED),
    attempt("frozen", "write", DENIED, 14),
  );

  it("says what came of its label, with the kernel's records", () => {
    assert.deepEqual(canaryWitness(shown, image("ext4", "rw")), {
      state: "writable",
      avcs: [11, 12],
      dup: ALLOWED,
      open: DENIED,
      write: ALLOWED,
    });
  });

  it("calls open denied only if every way of opening was", () => {
    assert.deepEqual(canaryWitness(shown, image("ext4", "ro"))?.open, ALLOWED);
  });

  it("says nothing of a label or a mount that it did not try", () => {
    assert.equal(canaryWitness(shown, image("ext4", "ro", { shared: true })), undefined);
    assert.equal(canaryWitness(shown, image("ext4", "rw", { mountId: 8n })), undefined);
  });

  it("says nothing of writing a read-only image where no label tells them apart", () => {
    const nfs = report(
      attempt("unlabelled", "path", DENIED),
      attempt("unlabelled", "write", ALLOWED),
    );
    assert.equal(canaryWitness(nfs, image("nfs", "ro"))?.write, undefined);
    assert.deepEqual(canaryWitness(nfs, image("nfs", "rw"))?.write, ALLOWED);
  });
});

describe("policy and canary", () => {
  const policy: Verdict = {
    dup: ALLOWED,
    open: DENIED,
    read: ALLOWED,
    write: ALLOWED,
    map: DENIED,
  };
  const witness = { state: "writable", avcs: [] } as const;

  it("that differ are a finding, whichever is wrong", () => {
    const [text, ...more] = disagreements("/srv/a", policy, {
      ...witness,
      open: ALLOWED,
      dup: ALLOWED,
    });
    assert.match(text!, /"\/srv\/a": open is denied by the policy, allowed to a canary/);
    assert.deepEqual(more, []);
  });

  it("agree on what only one of them was asked about", () => {
    assert.deepEqual(disagreements("/srv/a", policy, { ...witness, write: ALLOWED }), []);
    assert.deepEqual(disagreements("/srv/a", policy, undefined), []);
  });
});
