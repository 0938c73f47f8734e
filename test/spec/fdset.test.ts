import { after, afterEach, before, beforeEach, describe, it } from "node:test";
import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { constants, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AT_FDCWD, openat2 } from "../../ffi/libc.ts";
import { AF_UNIX, SOCK_STREAM, socket } from "../../ffi/libc_socket.ts";
import { OwnedFd } from "../../agent/owned_fd.ts";
import { addFd, DroppedError, listFds, removeFd } from "../../agent/qmp/fdset.ts";
import { Monitor, MonitorError, QmpError } from "../../agent/qmp/monitor.ts";
import { probeFdsets } from "../../agent/qmp/probe.ts";
import { fdsetBehaviour } from "../../agent/qmp/version.ts";
import { FakeQemu, type FakeQemuOptions } from "../fakes/qemu.ts";
import { descriptors, reactorAtRest, requireNoMore, until } from "../fakes/socket_pair.ts";

let folder: string;
let path: string;
let image: string;
let atStart: string[];
before(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), "fdset-")));
  path = join(folder, "qmp");
  image = join(folder, "image");
  writeFileSync(image, "0123456789");
});
beforeEach(() => {
  atStart = descriptors(folder);
});
afterEach(() => requireNoMore(atStart, folder));
after(reactorAtRest);
after(() => rmSync(folder, { recursive: true }));

function openImage(): OwnedFd {
  return new OwnedFd(openat2(AT_FDCWD, image, { flags: constants.O_RDWR, resolve: 0n }), image);
}

function connect(): Promise<Monitor> {
  return Monitor.connect(new OwnedFd(socket(AF_UNIX, SOCK_STREAM), path), path);
}

const VERSIONS = [[7, 2], [10, 0]] as const;

describe("addFd", () => {
  for (const version of VERSIONS) {
    it(`gives QEMU ${version.join(".")} a duplicate under a name, and lends the agent's`, async () => {
      using qemu = new FakeQemu(path, { version });
      using monitor = await connect();
      using fd = openImage();
      const passed = await addFd(monitor, 3, fd, "svirt-agent rw root /image");
      const [member] = qemu.fdsets.get(3)!;
      assert.deepEqual(passed, { fdset: 3, number: member!.fd.number });
      assert.equal(member!.fd.identity, fd.identity);
      assert.equal(member!.opaque, "svirt-agent rw root /image");
      assert.equal(descriptors(folder).filter((it) => it === image).length, 2);
    });
  }

  it("gives each its own descriptor when several are on the way", async () => {
    using qemu = new FakeQemu(path);
    using monitor = await connect();
    using fd = openImage();
    await Promise.all([1, 2, 3].map((fdset) => addFd(monitor, fdset, fd, `${fdset}`)));
    assert.deepEqual([...qemu.fdsets.keys()], [1, 2, 3]);
    assert.deepEqual(qemu.came, []);
  });

  it("throws DroppedError with the path when the kernel dropped it", async () => {
    using _qemu = new FakeQemu(path, { fault: "dropped descriptors" });
    using monitor = await connect();
    using fd = openImage();
    await assert.rejects(addFd(monitor, 3, fd, ""), (error) => {
      assert(error instanceof DroppedError);
      assert.equal(
        error.message,
        `"${image}": the kernel dropped the descriptor on its way to the guest`,
      );
      assert.equal(error.path, image);
      assert.match(error.hint, /ausearch -m AVC/);
      return true;
    });
    assert.doesNotThrow(() => fd.stat());
  });

  it("throws MonitorError for an answer that names another set, or no number", async () => {
    using _qemu = new FakeQemu(path, { fault: "wrong answers" });
    using monitor = await connect();
    using fd = openImage();
    await assert.rejects(addFd(monitor, 3, fd, ""), {
      name: "MonitorError",
      message: `${path}: add-fd answered {"fdset-id":4711,"fd":"three"}`,
    });
  });

  for (
    const answer of [
      "null",
      "7",
      '"text"',
      "[]",
      '{"fdset-id":3}',
      '{"fd":5}',
      '{"fdset-id":3,"fd":-1}',
      '{"fdset-id":3,"fd":2.5}',
    ]
  ) {
    it(`throws MonitorError for the answer ${answer}`, async () => {
      using qemu = new FakeQemu(path);
      using monitor = await connect();
      using fd = openImage();
      qemu.heard = (line, connection) =>
        connection.write(`{"return":${answer},"id":${JSON.parse(line).id}}\n`);
      await assert.rejects(addFd(monitor, 3, fd, ""), MonitorError);
    });
  }

  const FAULTS = ["mute", "dies in mid-reply", "deep nesting"] as const;
  for (const fault of FAULTS) {
    it(`leaves no duplicate behind when QEMU's fault is: ${fault}`, async () => {
      using _qemu = new FakeQemu(path, { fault });
      using monitor = await connect();
      using fd = openImage();
      const added = addFd(monitor, 3, fd, "");
      if (fault === "mute") {
        await new Promise((resolve) => setTimeout(resolve, 20));
        monitor[Symbol.dispose]();
      }
      await assert.rejects(added, MonitorError);
      await assert.rejects(addFd(monitor, 3, fd, ""), MonitorError);
    });
  }
});

describe("probeFdsets", () => {
  const CASES = [
    ["7.2 keeps while paused", { version: [7, 2] }, false],
    ["10.0 removes while paused", { version: [10, 0] }, true],
    [
      "7.2 removes, as its distribution made it",
      { version: [7, 2], removesWhilePaused: true },
      true,
    ],
    [
      "10.0 does not, whatever its version promises",
      { version: [10, 0], removesWhilePaused: false },
      false,
    ],
  ] as const;
  for (const [what, options, removes] of CASES) {
    it(`finds by trying that ${what}, and nothing of it stays once the guest runs`, async () => {
      using qemu = new FakeQemu(path, options);
      using monitor = await connect();
      const { fdsets, left } = await probeFdsets(monitor);
      assert.equal(fdsets.removesWhilePaused, removes);
      assert.equal(fdsets.matchesDirect, options.version[0] >= 10);
      const listed = await listFds(monitor);
      assert.deepEqual(listed, left.map((fd) => ({ ...fd, opaque: "svirt-agent probe" })));
      assert.equal(left.length, removes ? 0 : 1);
      await monitor.execute("cont");
      for (const passed of left) await removeFd(monitor, passed);
      assert.deepEqual(await listFds(monitor), []);
      assert.deepEqual([...qemu.fdsets], []);
    });
  }

  it("goes by the version where the policy drops what it would try with", async () => {
    using _qemu = new FakeQemu(path, { version: [10, 0], fault: "dropped descriptors" });
    using monitor = await connect();
    const { fdsets, left } = await probeFdsets(monitor);
    assert.deepEqual([fdsets.removesWhilePaused, left], [true, []]);
  });
});

describe("removeFd", () => {
  async function world(
    options: FakeQemuOptions,
  ): Promise<{ qemu: FakeQemu; monitor: Monitor; fd: OwnedFd } & Disposable> {
    const qemu = new FakeQemu(path, options);
    const monitor = await connect();
    const fd = openImage();
    const all = [fd, monitor, qemu];
    return { qemu, monitor, fd, [Symbol.dispose]: () => all.forEach((it) => it[Symbol.dispose]()) };
  }

  for (const version of VERSIONS) {
    it(`takes one out of a running ${version.join(".")} and leaves the others`, async () => {
      using it = await world({ version });
      await it.monitor.execute("cont");
      const one = await addFd(it.monitor, 3, it.fd, "one");
      await addFd(it.monitor, 3, it.fd, "two");
      await removeFd(it.monitor, one);
      assert.deepEqual(it.qemu.fdsets.get(3)!.map(({ opaque }) => opaque), ["two"]);
    });

    const removes = fdsetBehaviour({ major: version[0], minor: version[1], micro: 0 })
      .removesWhilePaused;
    it(`${removes ? "takes one out of" : "cannot tell that nothing leaves"} a paused ${version.join(".")}`, async () => {
      using it = await world({ version });
      await removeFd(it.monitor, await addFd(it.monitor, 3, it.fd, "one"));
      assert.equal(it.qemu.fdsets.has(3), !removes);
    });
  }

  it("throws QmpError when there is no such descriptor", async () => {
    using it = await world({});
    await assert.rejects(removeFd(it.monitor, { fdset: 77, number: 5 }), (error) => {
      assert(error instanceof QmpError);
      assert.equal(error.desc, "File descriptor named 'fdset-id:77, fd:5' not found");
      return true;
    });
  });
});

/** bind(2) makes the file, and only listen(2) takes connections. */
function listens(path: string): boolean {
  const sockets = readFileSync("/proc/net/unix", "utf8").split("\n");
  const ACCEPTS = "00010000";
  return sockets.some((line) => line.endsWith(` ${path}`) && line.split(" ")[3] === ACCEPTS);
}

const BINARY = "qemu-system-x86_64";
const installed = spawnSync(BINARY, ["--version"]).status === 0;
const skip = installed ? false : `${BINARY} is not installed`;

describe("the QEMU of this machine", { skip }, () => {
  let child: ChildProcess;
  let ended: Promise<unknown>;
  beforeEach(async () => {
    const args = ["-M", "none", "-display", "none", "-nodefaults", "-S"];
    child = spawn("timeout", ["30", BINARY, ...args, "-qmp", `unix:${path},server=on,wait=off`], {
      stdio: "ignore",
    });
    ended = new Promise((resolve) => child.once("exit", resolve));
    await until(() => listens(path));
  });
  afterEach(async () => {
    child.kill();
    await ended;
    rmSync(path, { force: true });
  });

  it(
    "shows what was passed with its name, and removes as the table says",
    { timeout: 30_000 },
    async () => {
      using monitor = await connect();
      assert(monitor.version.major >= 5);
      using fd = openImage();
      const opaque = "svirt-agent rw root /image";
      const passed = await addFd(monitor, 3, fd, opaque);
      assert.deepEqual(await monitor.execute("query-fdsets"), [
        { "fdset-id": 3, fds: [{ fd: passed.number, opaque }] },
      ]);
      await assert.rejects(removeFd(monitor, { fdset: 77, number: 5 }), {
        name: "QmpError",
        class: "GenericError",
        desc: "File descriptor named 'fdset-id:77, fd:5' not found",
      });
      await removeFd(monitor, passed);
      const left = await monitor.execute("query-fdsets") as unknown[];
      assert.equal(left.length === 0, fdsetBehaviour(monitor.version).removesWhilePaused);
      await monitor.execute("cont");
      if (left.length > 0) await removeFd(monitor, passed).catch(() => {});
      assert.deepEqual(await monitor.execute("query-fdsets"), []);
      await monitor.execute("quit");
    },
  );

  it(
    "says that no descriptor came, in the words that mean it was dropped",
    { timeout: 30_000 },
    async () => {
      using monitor = await connect();
      await assert.rejects(monitor.execute("add-fd", { "fdset-id": 3 }), {
        desc: "No file descriptor supplied via SCM_RIGHTS",
      });
      await monitor.execute("quit");
    },
  );
});
