import { after, afterEach, before, beforeEach, describe, it } from "node:test";
import assert from "node:assert/strict";
import { mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AF_UNIX, SOCK_STREAM, socket } from "../../ffi/libc_socket.ts";
import { OwnedFd } from "../../agent/owned_fd.ts";
import { Monitor, MonitorError, QmpError } from "../../agent/qmp/monitor.ts";
import { fdsetBehaviour } from "../../agent/qmp/version.ts";
import { FakeQemu, type FakeQemuOptions } from "../fakes/qemu.ts";
import { descriptors, reactorAtRest, requireNoMore, until } from "../fakes/socket_pair.ts";

let folder: string;
let path: string;
let atStart: string[];
before(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), "monitor-")));
  path = join(folder, "qmp");
});
beforeEach(() => {
  atStart = descriptors(folder);
});
afterEach(() => requireNoMore(atStart, folder));
after(reactorAtRest);
after(() => rmSync(folder, { recursive: true }));

function connect(greetingMs?: number): Promise<Monitor> {
  return Monitor.connect(new OwnedFd(socket(AF_UNIX, SOCK_STREAM), path), path, greetingMs);
}

/** A QEMU and a monitor connected to it. */
async function connected(
  options?: FakeQemuOptions,
): Promise<{ qemu: FakeQemu; monitor: Monitor } & Disposable> {
  const qemu = new FakeQemu(path, options);
  try {
    const monitor = await connect();
    return {
      qemu,
      monitor,
      [Symbol.dispose]() {
        monitor[Symbol.dispose]();
        qemu[Symbol.dispose]();
      },
    };
  } catch (error) {
    qemu[Symbol.dispose]();
    throw error;
  }
}

describe("Monitor.connect", () => {
  for (
    const [version, read] of [
      [[7, 2], { major: 7, minor: 2, micro: 0 }],
      [[10, 0], { major: 10, minor: 0, micro: 0 }],
    ] as const
  ) {
    it(`reads version ${version.join(".")} and leaves negotiation mode`, async () => {
      using it = await connected({ version });
      assert.deepEqual(it.monitor.version, read);
      assert.deepEqual(it.qemu.asked.map(({ execute }) => execute), ["qmp_capabilities"]);
      assert.equal(it.monitor.failure, undefined);
    });
  }

  for (
    const greeting of [
      { QMP: {} },
      { QMP: null },
      { QMP: { version: { qemu: { major: "x", minor: {}, micro: null } } } },
      { QMP: { version: { qemu: { major: -1 } } } },
      { QMP: { version: { qemu: { major: 1e400, minor: 0.5 } } } },
    ]
  ) {
    it(`takes a QEMU that greets with ${JSON.stringify(greeting)} for the oldest`, async () => {
      using it = await connected({ greeting });
      assert.deepEqual(
        fdsetBehaviour(it.monitor.version),
        fdsetBehaviour({ major: 0, minor: 0, micro: 0 }),
      );
    });
  }

  it("fails where nobody listens, and closes the socket it was given", async () => {
    await assert.rejects(connect(), {
      name: "SystemError",
      operation: "connect",
      code: "ENOENT",
      path,
    });
  });

  it("fails, saying what SELinux may have to do with it, when no greeting comes", async () => {
    using _qemu = new FakeQemu(path, { fault: "silent" });
    await assert.rejects(connect(30), (error) => {
      assert(error instanceof MonitorError);
      assert.equal(error.message, `${path}: no greeting within 30 ms`);
      assert.match(error.hint ?? "", /AVC with class unix_stream_socket/);
      return true;
    });
  });

  for (
    const [fault, message] of [
      ["garbage", /^\/.*\/qmp: Cannot read "SSH-2\.0-OpenSSH_9\.2\\u001b\[2J\\r": /],
      ["endless line", /more than 16777216 bytes of message; cut off$/],
    ] as const
  ) {
    it(`fails at once when what answers is ${fault}`, async () => {
      using _qemu = new FakeQemu(path, { fault });
      await assert.rejects(connect(20_000), { name: "MonitorError", message });
    });
  }

  it("fails when QEMU hangs up instead of greeting", async () => {
    using qemu = new FakeQemu(path, { fault: "silent" });
    const greeting = connect();
    await new Promise((resolve) => setTimeout(resolve, 20));
    qemu.hangUp();
    await assert.rejects(greeting, {
      name: "MonitorError",
      message: `${path}: QEMU closed the monitor`,
    });
  });

  it("fails when negotiation is refused", async () => {
    using qemu = new FakeQemu(path, { greeting: { QMP: {} } });
    qemu.heard = (_line, connection) =>
      connection.write('{"error":{"class":"GenericError","desc":"busy"},"id":1}\n');
    await assert.rejects(connect(), {
      name: "QmpError",
      command: "qmp_capabilities",
      desc: "busy",
    });
  });
});

describe("Monitor.execute", () => {
  it("answers what QEMU returned", async () => {
    using it = await connected();
    assert.deepEqual(await it.monitor.execute("query-status"), {
      running: false,
      status: "paused",
    });
    await it.monitor.execute("cont");
    assert.deepEqual(await it.monitor.execute("query-status"), {
      running: true,
      status: "running",
    });
  });

  it("sends the arguments, and none where there are none", async () => {
    using it = await connected();
    await it.monitor.execute("stop");
    await it.monitor.execute("cont", { a: 1 });
    const [, stop, cont] = it.qemu.asked;
    assert.deepEqual(stop, { execute: "stop", id: stop?.id });
    assert.deepEqual(cont, { execute: "cont", arguments: { a: 1 }, id: cont?.id });
  });

  it("gives each its own answer when they are answered out of order", async () => {
    using it = await connected({ fault: "out of order" });
    const [status, sets, nothing] = await Promise.allSettled(
      ["query-status", "query-fdsets", "nonsense"].map((name) => it.monitor.execute(name)),
    );
    assert.deepEqual(status, { status: "fulfilled", value: { running: false, status: "paused" } });
    assert.deepEqual(sets, { status: "fulfilled", value: [] });
    assert.equal(nothing?.status, "rejected");
  });

  it("leaves answers to ids that nobody has", async () => {
    using it = await connected({ fault: "unknown ids" });
    assert.deepEqual(await it.monitor.execute("query-fdsets"), []);
    assert.equal(it.monitor.failure, undefined);
  });

  it("answers 2000 commands at once", async () => {
    using it = await connected();
    const all = Array.from({ length: 2000 }, () => it.monitor.execute("query-fdsets"));
    assert(((await Promise.all(all)) as unknown[][]).every((sets) => sets.length === 0));
  });

  it("throws QmpError with command, class and text of QEMU's error", async () => {
    using it = await connected();
    await assert.rejects(it.monitor.execute("nonsense"), (error) => {
      assert(error instanceof QmpError);
      assert.equal(error.message, "nonsense: The command nonsense has not been found");
      assert.equal(error.command, "nonsense");
      assert.equal(error.class, "CommandNotFound");
      assert.equal(error.desc, "The command nonsense has not been found");
      return true;
    });
    assert.deepEqual(await it.monitor.execute("query-fdsets"), [], "the connection goes on");
  });

  for (
    const reply of [{}, { error: null }, { error: "no" }, { error: {} }, { error: { desc: 7 } }]
  ) {
    it(`throws QmpError when the reply is ${JSON.stringify(reply)}`, async () => {
      using it = await connected();
      it.qemu.heard = (line, connection) =>
        connection.write(`${JSON.stringify({ ...reply, id: JSON.parse(line).id })}\n`);
      await assert.rejects(it.monitor.execute("stop"), { name: "QmpError", command: "stop" });
    });
  }

  it("lets no text of QEMU's write on a terminal", async () => {
    using it = await connected();
    it.qemu.heard = (line, connection) =>
      connection.write(`${
        JSON.stringify({
          error: { class: "GenericError", desc: "\x1b[2J\u009b2J\r\nsvirt-agent: all is well" },
          id: JSON.parse(line).id,
        })
      }\n`);
    await assert.rejects(it.monitor.execute("stop"), (error: Error) => {
      assert.doesNotMatch(error.message, /\p{Cc}/u);
      return true;
    });
  });

  it("gives up after its time, saying that nothing is known, and hears no late answer", async () => {
    using it = await connected({ delayMs: 60 });
    await assert.rejects(it.monitor.execute("stop", {}, { timeoutMs: 20 }), {
      name: "MonitorError",
      message: `${path}: no reply to stop within 20 ms`,
    });
    assert.deepEqual(await it.monitor.execute("query-fdsets"), [], "the connection goes on");
  });

  it("has a deadline of its own for each command", async () => {
    using it = await connected({ fault: "mute" });
    const started = Date.now();
    const times = [20, 60].map((timeoutMs) =>
      it.monitor.execute("stop", {}, { timeoutMs }).catch(() => Date.now() - started)
    );
    const [first, second] = await Promise.all(times) as [number, number];
    assert(first < second, `${first} ms, ${second} ms`);
  });

  it("sends nothing that JSON cannot carry, and forgets that it was asked", async () => {
    using it = await connected();
    await assert.rejects(it.monitor.execute("stop", { ino: 5n }, { timeoutMs: 10 }), TypeError);
    // Its deadline must not come: nobody would be there to hear of it.
    await new Promise((resolve) => setTimeout(resolve, 30));
    assert.equal(it.qemu.asked.length, 1);
  });

  it("does not pile up commands without end for a QEMU that is mute", async () => {
    using it = await connected({ fault: "mute" });
    const all = Array.from({ length: 4097 }, () => it.monitor.execute("stop"));
    await assert.rejects(all.at(-1)!, {
      name: "MonitorError",
      message: `${path}: 4096 commands without a reply`,
    });
    it.monitor[Symbol.dispose]();
    await Promise.allSettled(all);
  });
});

describe("a monitor that fails", () => {
  // deno-fmt-ignore
  const FAILURES = [
    ["dies in mid-reply", /^\/.*: QEMU closed the monitor$/],
    ["deep nesting",      /^\/.*: Cannot read "\{\\"return\\":\[+\.\.\.": nested more than 64 deep$/],
  ] as const;
  for (const [fault, message] of FAILURES) {
    it(`rejects everything that waits when QEMU's fault is: ${fault}`, async () => {
      using it = await connected({ fault });
      const all = Array.from({ length: 3 }, () => it.monitor.execute("query-status"));
      for (const result of await Promise.allSettled(all)) {
        assert.equal(result.status, "rejected");
        assert(result.reason instanceof MonitorError);
        assert.match(result.reason.message, message);
      }
      assert.match(it.monitor.failure?.message ?? "", message);
      await assert.rejects(it.monitor.execute("cont"), { name: "MonitorError", message });
    });
  }

  for (
    const line of ["hello", "[]", '{"return":', '{"return":{},"id":"\xff'] as const
  ) {
    it(`rejects everything that waits when QEMU says ${JSON.stringify(line)}`, async () => {
      using it = await connected({ fault: "mute" });
      const waits = it.monitor.execute("stop");
      it.qemu.say(line);
      await assert.rejects(waits, { name: "MonitorError", message: /: Cannot read "/ });
    });
  }

  it("tells its listeners once", async () => {
    using it = await connected();
    const heard: string[] = [];
    it.monitor.onEvent(({ event }) => heard.push(event));
    it.qemu.say("hello");
    await until(() => it.monitor.failure !== undefined);
    it.monitor[Symbol.dispose]();
    assert.deepEqual(heard, ["AGENT_MONITOR_CLOSED"]);
  });

  it("rejects everything that waits when it is disposed", async () => {
    using it = await connected({ fault: "mute" });
    const all = Array.from({ length: 3 }, () => it.monitor.execute("stop"));
    it.monitor[Symbol.dispose]();
    for (const { status } of await Promise.allSettled(all)) assert.equal(status, "rejected");
    await assert.rejects(it.monitor.execute("stop"), MonitorError);
  });
});

describe("Monitor.onEvent", () => {
  it("hears every event, until it is stopped", async () => {
    using it = await connected();
    const heard: unknown[] = [];
    const stop = it.monitor.onEvent((event) => heard.push(event));
    it.qemu.emit("STOP");
    it.qemu.emit("BLOCK_IO_ERROR", { device: "root", reason: "Permission denied" });
    await it.monitor.execute("query-status");
    stop();
    it.qemu.emit("RESUME");
    await it.monitor.execute("query-status");
    assert.deepEqual(heard, [
      { event: "STOP", data: {} },
      { event: "BLOCK_IO_ERROR", data: { device: "root", reason: "Permission denied" } },
    ]);
  });

  for (const data of ["null", "7", '"text"', undefined]) {
    it(`hears an event without data where the data is ${data ?? "absent"}`, async () => {
      using it = await connected();
      const heard: unknown[] = [];
      it.monitor.onEvent((event) => heard.push(event));
      it.qemu.say(`{"event":"STOP"${data === undefined ? "" : `,"data":${data}`}}`);
      await it.monitor.execute("query-status");
      assert.deepEqual(heard, [{ event: "STOP", data: {} }]);
    });
  }

  it("hears events between a command and its answer", async () => {
    using it = await connected({ delayMs: 10 });
    const heard: string[] = [];
    it.monitor.onEvent(({ event }) => heard.push(event));
    const answer = it.monitor.execute("query-fdsets");
    it.qemu.emit("STOP");
    assert.deepEqual(await answer, []);
    assert.deepEqual(heard, ["STOP"]);
  });
});

describe("a monitor that is flooded with events", () => {
  async function flooded(fault: "mute" | undefined, work: (monitor: Monitor) => Promise<void>) {
    using it = await connected(fault && { fault });
    const flood = setInterval(() => {
      for (let i = 0; i < 500; i++) it.qemu.emit("RTC_CHANGE", { text: "x".repeat(200) });
    }, 0);
    try {
      await work(it.monitor);
    } finally {
      clearInterval(flood);
    }
  }

  it("still hears the answer to a command", () =>
    flooded(undefined, async (monitor) => {
      assert.deepEqual(await monitor.execute("query-fdsets"), []);
    }));

  it("still gives up after its time", () =>
    flooded("mute", async (monitor) => {
      const begin = performance.now();
      await assert.rejects(
        monitor.execute("query-status", {}, { timeoutMs: 100 }),
        { name: "MonitorError" },
      );
      assert.ok(performance.now() - begin < 10_000);
    }));
});

describe("fdsetBehaviour", () => {
  // deno-fmt-ignore
  const CASES = [
    [[0, 0],  false],
    [[7, 2],  false],
    [[9, 0],  false],
    [[9, 1],  true],
    [[9, 2],  true],
    [[10, 0], true],
    [[11, 0], true],
  ] as const;
  for (const [[major, minor], newer] of CASES) {
    it(`of ${major}.${minor} ${newer ? "matches O_DIRECT and removes" : "sets O_DIRECT and keeps"} while paused`, () => {
      const { matchesDirect, removesWhilePaused } = fdsetBehaviour({ major, minor, micro: 0 });
      assert.deepEqual([matchesDirect, removesWhilePaused], [newer, newer]);
    });
  }
});
