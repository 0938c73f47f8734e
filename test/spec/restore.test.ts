import assert from "node:assert/strict";
import { chmodSync, chownSync, constants, renameSync, statSync } from "node:fs";
import { describe, it } from "node:test";
import type { IntentEvent } from "../../agent/audit/event.ts";
import { lockImage } from "../../agent/image/lock.ts";
import {
  describeRestorable,
  findRestorable,
  restoreFromLog,
} from "../../agent/operation/restore.ts";
import { OwnedFd } from "../../agent/owned_fd.ts";
import { AT_FDCWD, openat2 } from "../../ffi/libc.ts";
import { FakeHost } from "../fakes/host.ts";

function open(path: string): OwnedFd {
  return new OwnedFd(openat2(AT_FDCWD, path, { flags: constants.O_RDWR, resolve: 0n }), path);
}

/** A snapshot that raised a fence and never ended; recorded on `host`. */
function fence(path: string, host: FakeHost): void {
  using fd = open(path);
  const intent: IntentEvent = {
    event: "intent",
    operation: "snapshot",
    id: "s1",
    guest: "web1",
    agent: { pid: 1, startTime: 1 },
    undo: [{ kind: "owner", path, identity: fd.identity, uid: 1234, gid: 5678, mode: 0o100604 }],
    plan: [],
  };
  host.log.append(intent);
  chownSync(path, 0, 64055);
  chmodSync(path, 0o640);
}

function owner(path: string): string {
  const { uid, gid, mode } = statSync(path);
  return `${uid}:${gid} ${(mode & 0o777).toString(8)}`;
}

/** The host that died, and another one that sees the same file and has a log of its own. */
function twoHosts(): { dead: FakeHost; other: FakeHost; path: string } & Disposable {
  const dead = new FakeHost();
  const other = new FakeHost();
  const path = other.file("web1.raw", "data");
  fence(path, dead);
  return {
    dead,
    other,
    path,
    [Symbol.dispose]() {
      dead[Symbol.dispose]();
      other[Symbol.dispose]();
    },
  };
}

describe("image restore, from the log of a host that is gone", () => {
  it("gives owner and mode back, and records it on this host", () => {
    using hosts = twoHosts();
    const { dead, other, path } = hosts;
    const found = findRestorable(path, dead.log.state, other.log.state)!;
    assert.deepEqual(describeRestorable(found), [`owner of ${path}: 1234:5678 0604`]);
    assert.equal(owner(path), "0:64055 640", "telling changes nothing");
    assert.deepEqual(restoreFromLog(found, "audit.jsonl", other), [
      `owner of ${path} is 1234:5678 0604 again`,
    ]);
    assert.equal(owner(path), "1234:5678 604");
    assert.equal(other.log.state.intents.size, 0);
  });

  it("finds nothing for a file that the log never changed, or that was given back", () => {
    using hosts = twoHosts();
    const { dead, other, path } = hosts;
    assert.equal(findRestorable(`${path}.old`, dead.log.state, other.log.state), undefined);
    dead.log.append({ event: "outcome", operation: "s1", guest: "web1", result: "undone" });
    assert.equal(findRestorable(path, dead.log.state, other.log.state), undefined);
  });

  it("leaves a file alone whose lock a guest on some host still holds", () => {
    using hosts = twoHosts();
    const { dead, other, path } = hosts;
    using guest = open(path);
    lockImage(guest, "ro");
    const found = findRestorable(path, dead.log.state, other.log.state)!;
    assert.throws(() => restoreFromLog(found, "audit.jsonl", other), { code: "in-use" });
    assert.equal(owner(path), "0:64055 640");
  });

  it("leaves another file alone that has its name now, and says so in the log", () => {
    using hosts = twoHosts();
    const { dead, other, path } = hosts;
    const found = findRestorable(path, dead.log.state, other.log.state)!;
    renameSync(other.file("new.raw", "other data"), path);
    const before = owner(path);
    assert.throws(() => restoreFromLog(found, "audit.jsonl", other), { code: "replaced" });
    assert.equal(owner(path), before);
    assert.equal(other.log.state.intents.size, 0, "the operation has an outcome");
  });

  it("is refused for a file that a guest of this very host has", () => {
    using hosts = twoHosts();
    const { dead, other, path } = hosts;
    using fd = open(path);
    other.log.append({
      event: "grant",
      operation: "a1",
      guest: "web2",
      image: "root",
      path,
      identity: fd.identity,
      label: null,
      mode: "ro",
      fdset: 1,
      fd: "",
      reason: "attach",
      shared: false,
      deadline: null,
    });
    assert.throws(() => findRestorable(path, dead.log.state, other.log.state), {
      name: "RefusedError",
      message: /guest web2 of this host has/,
    });
  });
});
