/**
 * Names are not files: somebody renames, links and replaces images while the agent works on them.
 *
 * @module
 */

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import {
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after, before, describe, it } from "node:test";
import type { IntentEvent } from "../../agent/audit/event.ts";
import { Folder, openBeneath, requireSame } from "../../agent/image/folder.ts";
import { parseContext } from "../../agent/label/context.ts";
import { unlinkOverlay } from "../../agent/operation/overlay.ts";
import { settleSnapshot } from "../../agent/operation/settle_snapshot.ts";
import { undo } from "../../agent/operation/undo.ts";
import { identityOf, OwnedFd } from "../../agent/owned_fd.ts";
import { AT_FDCWD, openat2, statx } from "../../ffi/libc.ts";
import { FakeHost } from "../fakes/host.ts";

const skip = process.getuid?.() === 0 ? false : "needs root: allowed folders belong to root";

/** Swaps an image with a link to what lies outside, a second name of another's, a FIFO, nothing. */
const RACER = `
const fs = require("node:fs");
const [top] = process.argv.slice(1), mine = top + "/images/mine", aside = top + "/images/aside";
const put = [
  () => fs.symlinkSync(top + "/outside", mine),
  () => fs.linkSync(top + "/images/theirs", mine),
  () => fs.mkdirSync(mine),
  () => fs.writeFileSync(mine, ""),
  () => {},
];
console.log("ready");
let rounds = 0;
setInterval(() => {
  for (let i = 0; i < 50; i++) {
    fs.renameSync(mine, aside);
    put[rounds++ % put.length]();
    for (let spin = rounds % 7 * 2000; spin > 0; spin--);
    fs.rmSync(mine, { recursive: true, force: true });
    fs.renameSync(aside, mine);
    for (let spin = rounds % 5 * 9000; spin > 0; spin--);
  }
}, 0);
`;

describe("while a program swaps an image's name", { skip }, () => {
  let top: string;
  let racer: ChildProcess;

  before(async () => {
    top = realpathSync(mkdtempSync(join(tmpdir(), "races-")));
    mkdirSync(join(top, "images"));
    for (const name of ["images/mine", "images/theirs", "outside"]) {
      writeFileSync(join(top, name), name);
    }
    racer = spawn("node", ["-e", RACER, top], { stdio: ["ignore", "pipe", "inherit"] });
    await once(racer.stdout!, "data");
  });
  after(async () => {
    const closed = once(racer, "close");
    racer.kill("SIGKILL");
    await closed;
    rmSync(top, { recursive: true });
  });

  it("500 times what is opened twice is one file, and no other's, or is refused", async () => {
    using folder = Folder.open(join(top, "images"));
    const path = join(top, "images/mine");
    const others = ["images/theirs", "outside"].map((name) => identityOf(statx(join(top, name))));
    for (let round = 0; round < 500; round++) {
      try {
        using first = openBeneath([folder], path, constants.O_RDONLY);
        const { identity } = first;
        using second = openBeneath([folder], path, constants.O_RDWR);
        requireSame(second, identity, path);
        assert.equal(second.identity, identity);
        assert.ok(!others.includes(identity));
      } catch (error) {
        const { name } = error as Error;
        if (name !== "ImageError" && name !== "SystemError") throw error;
      }
      if (round % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    }
    for (const name of ["images/theirs", "outside"]) {
      assert.equal(readFileSync(join(top, name), "utf8"), name);
    }
  });
});

function open(path: string): OwnedFd {
  return new OwnedFd(openat2(AT_FDCWD, path, { flags: constants.O_RDONLY, resolve: 0n }), path);
}

describe("an image that was moved while its guest was attached", { skip }, () => {
  const own = "system_u:object_r:virt_image_t:s0";

  /** The intent of an attach that has labelled its image. */
  function labelled(host: FakeHost, fd: OwnedFd): void {
    const { identity, path } = fd;
    host.log.append({
      event: "intent",
      operation: "attach",
      id: "attach-1",
      guest: "web1",
      agent: host.agent,
      undo: [{ kind: "label", path, identity, label: own }],
      plan: {},
    });
    host.selinux.writeLabel(fd, parseContext("system_u:object_r:svirt_fd_image_t:s0:c1,c2"));
  }

  it("gets its label back through the descriptor that the agent has", async () => {
    using host = new FakeHost();
    using fd = open(host.file("web1.raw"));
    labelled(host, fd);
    renameSync(fd.path, `${fd.path}.moved`);
    host.file("web1.raw", "another one");
    await undo("attach-1", host, new Error("failed"), [fd]);
    assert.equal(host.label(fd.identity), own);
  });

  it("is found in its folder by an agent that has none", async () => {
    using host = new FakeHost();
    using fd = open(host.file("web1.raw"));
    labelled(host, fd);
    mkdirSync(join(host.folder, "backup"));
    renameSync(fd.path, join(host.folder, "backup/web1.old"));
    using other = open(host.file("web1.raw", "another one"));
    const [did] = await undo("attach-1", host);
    assert.match(did!, /label of .*backup\/web1\.old is .* again/);
    assert.equal(host.label(fd.identity), own);
    assert.ok(!host.selinux.labels.has(other.identity));
  });

  it("is named in the log where it is nowhere there, and no other file is touched", async () => {
    using host = new FakeHost();
    using fd = open(host.file("web1.raw"));
    labelled(host, fd);
    rmSync(fd.path);
    using other = open(host.file("web1.raw", "another one"));
    const [did] = await undo("attach-1", host);
    assert.match(did!, /web1\.raw is gone; if it was moved .*restorecon -F/);
    assert.ok(!host.selinux.labels.has(other.identity));
  });
});

describe("an overlay whose name another file has", { skip }, () => {
  it("is not removed where the log knows the overlay", () => {
    using host = new FakeHost();
    const path = host.file("web1.s2.qcow2");
    assert.match(unlinkOverlay(path, "9:9:9", host)[0]!, /is another file now: left alone/);
    assert.ok(existsSync(path));
  });

  it("is not removed where the log knows its name alone, unless it is empty as it was made", () => {
    using host = new FakeHost();
    const path = host.file("web1.s2.qcow2", "another guest's data");
    assert.match(unlinkOverlay(path, null, host)[0]!, /is another file now: left alone/);
    assert.ok(existsSync(path));
    const link = join(host.folder, "link.qcow2");
    symlinkSync(path, link);
    assert.match(unlinkOverlay(link, null, host)[0]!, /is another file now: left alone/);
    assert.deepEqual(unlinkOverlay(host.file("empty.qcow2"), null, host), [
      `removed ${host.folder}/empty.qcow2`,
    ]);
  });

  it("keeps recovery from removing the other overlays of its snapshot, which may hold data", () => {
    using host = new FakeHost();
    const [moved, stays] = ["root.s2.qcow2", "data.s3.qcow2"].map((name) =>
      host.file(name, Buffer.from("QFI\xfb of an overlay", "latin1"))
    );
    const made = [moved!, stays!].map((path) => {
      using fd = open(path);
      return { kind: "unlink", path, identity: fd.identity } as const;
    });
    renameSync(moved!, `${moved}.old`);
    host.file("root.s2.qcow2", "another one");
    const intent: IntentEvent = {
      event: "intent",
      operation: "snapshot",
      id: "snapshot-1",
      guest: "web1",
      agent: host.agent,
      undo: made,
      plan: made.map(({ path }) => ({ freeze: `${path}.base`, overlay: path })),
    };
    host.log.append(intent);
    const did = settleSnapshot(host.log.state.intents.get("snapshot-1")!, host);
    assert.match(did[0]!, /root\.s2\.qcow2 is another file than the one/);
    assert.match(did[1]!, /data\.s3\.qcow2 stands on/);
    assert.ok(existsSync(moved!) && existsSync(stays!));
  });
});
