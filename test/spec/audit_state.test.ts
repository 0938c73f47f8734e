import { describe, it } from "node:test";
import assert from "node:assert/strict";
import type {
  AuditEvent,
  GrantEvent,
  Operation,
  OperationResult,
  RevokeEvent,
  Undo,
} from "../../agent/audit/event.ts";
import type { Identity } from "../../agent/owned_fd.ts";
import { type AuditRecord, EMPTY, type Head, seal } from "../../agent/audit/record.ts";
import { emptyState, fold, type State } from "../../agent/audit/state.ts";

const agent = { pid: 812, startTime: 4711 };
const BASE: Identity = "8:1:10", ROOT: Identity = "8:1:11", OVERLAY: Identity = "8:1:12";
const path = (identity: string) => `/srv/${identity}`;

function intent(id: string, operation: Operation, guest: string, ...undo: Undo[]): AuditEvent {
  return { event: "intent", operation, id, guest, agent, undo, plan: {} };
}

function grant(
  operation: string,
  guest: string,
  identity: Identity,
  mode: "ro" | "rw",
  more: Partial<GrantEvent> = {},
): AuditEvent {
  // deno-fmt-ignore
  return { event: "grant", operation, guest, image: "root", path: path(identity), identity, mode,
    label: null, fdset: 1, fd: "x", reason: "test", shared: false, deadline: null, ...more };
}

function revoke(guest: string, identity: Identity, more: Partial<RevokeEvent> = {}): AuditEvent {
  // deno-fmt-ignore
  return { event: "revoke", operation: "r", guest, image: "root", path: path(identity), identity,
    mechanism: "relabel", grade: "enforced", evidence: null, ...more };
}

function outcome(operation: string, guest: string, result: OperationResult): AuditEvent {
  return { event: "outcome", operation, guest, result };
}

function label(identity: Identity, label: string): Undo {
  return { kind: "label", path: path(identity), identity, label };
}

function after(...events: AuditEvent[]): State {
  const state = emptyState();
  let head: Head = EMPTY;
  for (const event of events) {
    const record = seal(event, head);
    fold(state, record);
    head = record;
  }
  return state;
}

/** One word for each thing that is open, for tables. */
function summary(state: State): string[] {
  const words: string[] = [];
  for (const id of state.intents.keys()) words.push(`intent ${id}`);
  for (const [identity, { original, users }] of state.references) {
    const who = users.map((u) => `${u.guest}.${u.image}:${u.access}${u.shared ? ":shared" : ""}`);
    words.push(
      [`file ${identity}`, ...who, ...original.label ? [`was ${original.label}`] : []].join(" "),
    );
  }
  for (const [guest, grants] of state.grants) {
    words.push(`grants ${guest} ${grants.map((g) => `${g.identity}:${g.mode}`).join(" ")}`);
  }
  for (const [guest, level] of state.levels) words.push(`level ${guest} ${level}`);
  return words;
}

const attach: AuditEvent[] = [
  intent("a1", "attach", "web1", { kind: "level", level: "s0:c1,c2" }, label(ROOT, "nfs_t")),
  grant("a1", "web1", ROOT, "ro"),
  grant("a1", "web1", ROOT, "rw"),
];
const attached = [...attach, outcome("a1", "web1", "done")];
const sharers: AuditEvent[] = [
  intent("a1", "attach", "web1", label(BASE, "nfs_t")),
  grant("a1", "web1", BASE, "ro", { shared: true }),
  outcome("a1", "web1", "done"),
  intent("a2", "attach", "web2", label(BASE, "svirt_fd_ro_t")),
  grant("a2", "web2", BASE, "ro", { shared: true }),
  outcome("a2", "web2", "done"),
];
const detach = (guest: string, result: OperationResult): AuditEvent[] => [
  intent(`d-${guest}`, "detach", guest),
  outcome(`d-${guest}`, guest, result),
];
const snapshot: AuditEvent[] = [
  ...attached,
  intent("s1", "snapshot", "web1", label(ROOT, "svirt_fd_image_t"), label(OVERLAY, "x")),
  grant("s1", "web1", OVERLAY, "rw"),
];

describe("the state of a log", () => {
  const open = [
    "file 8:1:11 web1.root:rw was nfs_t",
    "grants web1 8:1:11:ro 8:1:11:rw",
    "level web1 s0:c1,c2",
  ];
  for (
    const [what, events, words] of [
      ["is empty at first", [], []],
      ["holds an attach that runs", attach, ["intent a1", ...open]],
      ["keeps what an attach opened after it is done", attached, open],
      [
        "has nothing left of an attach that failed",
        [...attach, outcome("a1", "web1", "failed")],
        [],
      ],
      ["has nothing left of an attach that was undone", [
        ...attach,
        outcome("a1", "web1", "undone"),
      ], []],
      ["keeps an attach open of which nobody knows how it ended", [
        ...attach,
        outcome("a1", "web1", "unknown"),
      ], ["intent a1", ...open]],
      ["closes an unknown attach when somebody found out", [
        ...attach,
        outcome("a1", "web1", "unknown"),
        outcome("a1", "web1", "done"),
      ], open],
      [
        "has nothing left of a guest that was detached",
        [...attached, ...detach("web1", "done")],
        [],
      ],
      ["keeps a guest whose detach failed", [...attached, ...detach("web1", "failed")], open],
      ["keeps a guest as referencing a file that it may only read now", [
        ...attached,
        revoke("web1", ROOT, { left: "ro" }),
      ], ["file 8:1:11 web1.root:ro was nfs_t", "grants web1 8:1:11:ro", "level web1 s0:c1,c2"]],
      ["keeps a guest as referencing a file of which everything was revoked", [
        ...attached,
        revoke("web1", ROOT),
      ], ["file 8:1:11 web1.root:ro was nfs_t", "level web1 s0:c1,c2"]],
      ["is not changed by a revocation of another guest's, or of another image", [
        ...attached,
        revoke("web2", ROOT),
        revoke("web1", BASE),
        revoke("web1", ROOT, { image: "data" }),
      ], open],
      ["keeps the label that the first of two guests found, until both are gone", [
        ...sharers,
        ...detach("web1", "done"),
      ], ["file 8:1:10 web2.root:ro:shared was nfs_t", "grants web2 8:1:10:ro"]],
      ["forgets a shared file when both guests are gone", [
        ...sharers,
        ...detach("web1", "done"),
        ...detach("web2", "done"),
      ], []],
      ["has nothing left of a snapshot that was undone", [
        ...snapshot,
        outcome("s1", "web1", "undone"),
      ], open],
      ["keeps what a failed snapshot granted: the guest may use it", [
        ...snapshot,
        outcome("s1", "web1", "failed"),
      ], [
        "file 8:1:11 web1.root:rw was nfs_t",
        "file 8:1:12 web1.root:rw was x",
        "grants web1 8:1:11:ro 8:1:11:rw 8:1:12:rw",
        "level web1 s0:c1,c2",
      ]],
      ["takes a lease back when its commit is undone", [
        ...sharers,
        intent("c1", "commit", "web1"),
        grant("c1", "web1", BASE, "rw"),
        outcome("c1", "web1", "undone"),
      ], [
        "file 8:1:10 web1.root:ro web2.root:ro:shared was nfs_t",
        "grants web1 8:1:10:ro",
        "grants web2 8:1:10:ro",
      ]],
      ["ignores an outcome of an operation that is not open", [outcome("zz", "web1", "done")], []],
    ] as [string, AuditEvent[], string[]][]
  ) {
    it(what, () => assert.deepEqual(summary(after(...events)), words));
  }

  it("keeps owner and mode beside the label that was found", () => {
    const owner = { uid: 0, gid: 0, mode: 0o600 };
    const state = after(
      intent("a", "attach", "web1", label(ROOT, "nfs_t"), {
        kind: "owner",
        path: path(ROOT),
        identity: ROOT,
        ...owner,
      }),
    );
    assert.deepEqual(state.references.get(ROOT)?.original, { label: "nfs_t", owner });
  });

  it("knows the agent that started last", () => {
    const start = {
      event: "agent-start",
      version: "1",
      runtime: "node 24",
      context: null,
    } as const;
    const state = after({ ...start, ...agent }, { ...start, pid: 900, startTime: 5 });
    assert.equal(state.agentStart?.pid, 900);
  });

  it("refuses an event of a newer version, which may have granted something", () => {
    const record = { ...seal(outcome("a", "web1", "done"), EMPTY), event: "lease" };
    assert.throws(() => fold(emptyState(), record as unknown as AuditRecord), {
      name: "TypeError",
      message: 'Cannot use the log: seq 0 is a "lease", written by a newer svirt-agent',
    });
  });
});
