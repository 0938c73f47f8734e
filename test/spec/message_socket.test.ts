import { after, afterEach, before, beforeEach, describe, it } from "node:test";
import assert from "node:assert/strict";
import { constants, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { AT_FDCWD, fstatx, openat2 } from "../../ffi/libc.ts";
import { type Limits, MessageSocket } from "../../agent/io/message_socket.ts";
import { OwnedFd } from "../../agent/owned_fd.ts";
import {
  closeAll,
  descriptors,
  reactorAtRest,
  receiveRaw,
  requireNoMore,
  sendRaw,
  sendSeveral,
  socketPair,
  until,
} from "../fakes/socket_pair.ts";

let folder: string;
let image: string;
let atStart: string[];
before(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), "message-")));
  image = join(folder, "image");
  writeFileSync(image, "0123456789");
});
beforeEach(() => {
  atStart = descriptors(folder);
});
afterEach(() => requireNoMore(atStart, folder));
after(() => rmSync(folder, { recursive: true }));
after(reactorAtRest);

function openImage(): OwnedFd {
  const flags = constants.O_RDWR;
  return new OwnedFd(openat2(AT_FDCWD, image, { flags, resolve: 0n }), image);
}

const bytes = (text: string) => new TextEncoder().encode(text);
const ROOMY = { message: 1 << 20, queue: 64 << 20 };

/** One end as a message socket that remembers what it heard, the other end bare. */
class Ends implements Disposable {
  readonly heard: string[] = [];
  readonly closed: (Error | undefined)[] = [];
  readonly socket: MessageSocket;
  readonly peer: OwnedFd;

  constructor(limits: Limits = ROOMY, end: "\n" | "\0" = "\n", onMessage = (_: string) => {}) {
    const [mine, peer] = socketPair();
    this.peer = peer;
    this.socket = new MessageSocket(mine, end, limits, {
      message: (bytes) => {
        const text = new TextDecoder("latin1").decode(bytes);
        this.heard.push(text);
        onMessage(text);
      },
      closed: (error) => this.closed.push(error),
    });
  }

  /** Reads until the other end has said `length` bytes. */
  async read(length: number): Promise<{ text: string; passed: number[] }> {
    const parts: Uint8Array[] = [];
    const passed: number[] = [];
    let got = 0;
    await until(() => {
      const received = receiveRaw(this.peer);
      parts.push(received.bytes);
      passed.push(...received.passed);
      got += received.bytes.length;
      return got >= length;
    });
    return { text: new TextDecoder("latin1").decode(Buffer.concat(parts)), passed };
  }

  [Symbol.dispose](): void {
    this.socket[Symbol.dispose]();
    this.peer[Symbol.dispose]();
  }
}

describe("a message socket receives", () => {
  for (
    const [what, chunks, messages] of [
      ["one message", ["one\n"], ["one"]],
      ["two that came at once", ["one\ntwo\n"], ["one", "two"]],
      ["one that came in parts", ["o", "n", "e", "\n"], ["one"]],
      ["the end of one with the beginning of the next", ["on", "e\ntw", "o\n"], ["one", "two"]],
      ["nothing before its end has come", ["one"], []],
      ["an empty one", ["\n\n"], ["", ""]],
      ["one with the other protocol's end in it", ["o\0ne\n"], ["o\0ne"]],
    ] as const
  ) {
    it(what, async () => {
      using ends = new Ends();
      for (const chunk of chunks) {
        sendRaw(ends.peer, chunk);
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
      await until(() => ends.heard.length >= messages.length);
      assert.deepEqual(ends.heard, [...messages]);
    });
  }

  it("the same messages however the stream is cut into chunks", async () => {
    const message = fc.uint8Array({ maxLength: 50 }).map((bytes) => bytes.filter((it) => it !== 0));
    const cuts = fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 30 });
    await fc.assert(
      fc.asyncProperty(fc.array(message, { maxLength: 8 }), cuts, async (messages, cuts) => {
        using ends = new Ends(ROOMY, "\0");
        const stream = Buffer.concat(messages.flatMap((it) => [it, new Uint8Array(1)]));
        for (let at = 0, i = 0; at < stream.length; i++) {
          const size = cuts[i] ?? stream.length;
          sendRaw(ends.peer, stream.subarray(at, at + size));
          at += size;
          if (i % 2 === 0) await new Promise((resolve) => setTimeout(resolve, 0));
        }
        await until(() => ends.heard.length >= messages.length);
        assert.deepEqual(ends.heard, messages.map((it) => new TextDecoder("latin1").decode(it)));
      }),
      { numRuns: 60 },
    );
  });

  it("one of many times the size of its buffer", async () => {
    using ends = new Ends();
    const text = "0123456789".repeat(30_000);
    using other = new MessageSocket(ends.peer.duplicate(), "\n", ROOMY, {
      message: () => {},
      closed: () => {},
    });
    await other.send(bytes(text));
    await until(() => ends.heard.length > 0);
    assert.equal(ends.heard[0], text);
  });

  it("nothing more once it was closed by what it heard", async () => {
    const ends: Ends = new Ends(ROOMY, "\n", () => ends.socket[Symbol.dispose]());
    sendRaw(ends.peer, "one\ntwo\n");
    await until(() => ends.closed.length > 0);
    assert.deepEqual(ends.heard, ["one"]);
    ends[Symbol.dispose]();
  });

  it("closes, with the error, when whoever listens throws", async () => {
    using ends = new Ends(ROOMY, "\n", () => {
      throw new Error("cannot hear this");
    });
    sendRaw(ends.peer, "one\ntwo\n");
    await until(() => ends.closed.length > 0);
    assert.equal(ends.closed[0]?.message, "cannot hear this");
    assert.deepEqual(ends.heard, ["one"]);
  });
});

describe("the longest message", () => {
  for (
    const [what, chunks] of [
      ["at once", [`${"x".repeat(101)}\n`]],
      ["in parts", ["x".repeat(60), `${"x".repeat(41)}\n`]],
      ["without an end", ["x".repeat(60), "x".repeat(41)]],
      ["behind others", ["one\ntwo\n", `${"x".repeat(101)}\n`]],
    ] as const
  ) {
    it(`cuts off who sends a longer one ${what}`, async () => {
      using ends = new Ends({ message: 100, queue: 100 });
      for (const chunk of chunks) {
        sendRaw(ends.peer, chunk);
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      await until(() => ends.closed.length > 0);
      assert.match(ends.closed[0]!.message, /sent: more than 100 bytes of message; cut off$/);
      assert(ends.heard.every((it) => it.length <= 100));
      assert.equal(receiveRaw(ends.peer).ended, true);
    });
  }

  for (const chunks of [[`${"x".repeat(100)}\n`], ["x".repeat(100), "\n"]]) {
    it(`may be sent ${chunks.length === 1 ? "at once" : "in parts"}`, async () => {
      using ends = new Ends({ message: 100, queue: 100 });
      for (const chunk of chunks) {
        sendRaw(ends.peer, chunk);
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      await until(() => ends.heard.length > 0);
      assert.equal(ends.heard[0]!.length, 100);
      assert.deepEqual(ends.closed, []);
    });
  }
});

describe("a message socket sends", () => {
  it("messages in order, each with its end", async () => {
    using ends = new Ends();
    await Promise.all(["one", "two", ""].map((text) => ends.socket.send(bytes(text))));
    assert.equal((await ends.read(9)).text, "one\ntwo\n\n");
  });

  it("everything to a peer that reads late, though the socket was full", async () => {
    using ends = new Ends();
    const messages = Array.from({ length: 200 }, (_, i) => String(i).padStart(20_000, "."));
    let sent = 0;
    const all = messages.map((text) => ends.socket.send(bytes(text)).then(() => sent++));
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert(sent > 0 && sent < 200, `${sent} of 200 fit into the socket`);
    const { text } = await ends.read(200 * 20_001);
    await Promise.all(all);
    assert.equal(text, messages.map((it) => `${it}\n`).join(""));
  });

  it("and still hears while the socket is full", async () => {
    using ends = new Ends();
    const sent = ends.socket.send(new Uint8Array(4 << 20));
    sendRaw(ends.peer, "hello\n");
    await until(() => ends.heard.length > 0);
    await ends.read((4 << 20) + 1);
    await sent;
  });

  it("does not keep more than the queue's limit for a peer that does not read", async () => {
    const limit = 1 << 20;
    using ends = new Ends({ message: 100, queue: limit });
    const size = 10_000;
    const results: ("sent" | Error | undefined)[] = [];
    const all: Promise<void>[] = [];
    for (let i = 0; ends.closed.length === 0 && i < 1000; i++) {
      const text = String(i).padStart(size - 1, ".");
      results.push(undefined);
      all.push(
        ends.socket.send(bytes(text)).then(
          () => void (results[i] = "sent"),
          (error: Error) => void (results[i] = error),
        ),
      );
      await Promise.resolve();
    }
    await Promise.all(all);
    const sent = results.filter((it) => it === "sent").length;
    assert(sent > 0, "the socket itself takes some");
    assert(results.length * size > limit + sent * size, "and the queue up to its limit");
    assert(results.length * size <= limit + (sent + 2) * size, "but no more");
    assert.match(
      ends.closed[0]!.message,
      /does not read: more than 1048576 bytes of queue; cut off$/,
    );
    for (const failed of results.slice(sent)) assert.equal(failed, ends.closed[0]);
    // What was called sent is there, in order.
    const { bytes: text, ended } = receiveRaw(ends.peer);
    assert(ended);
    for (let i = 0; i < sent; i++) {
      const message = new TextDecoder().decode(text.subarray(i * size, (i + 1) * size));
      assert.equal(message, `${String(i).padStart(size - 1, ".")}\n`);
    }
  });
});

describe("a message that asks", () => {
  it("hears an answer that is there in time before it returns", async () => {
    using ends = new Ends();
    sendRaw(ends.peer, "answer\n");
    void ends.socket.ask(bytes("question"), undefined, 1000);
    assert.deepEqual(ends.heard, ["answer"]);
    assert.equal((await ends.read(9)).text, "question\n");
  });

  it("returns without one after its time, and hears a later one as ever", async () => {
    using ends = new Ends();
    const start = performance.now();
    await ends.socket.ask(bytes("question"), undefined, 20);
    assert.ok(performance.now() - start >= 19);
    assert.deepEqual(ends.heard, []);
    sendRaw(ends.peer, "answer\n");
    await until(() => ends.heard.length === 1);
    await ends.socket.ask(bytes("again"), undefined, 0);
    sendRaw(ends.peer, "and\nmore\n");
    await until(() => ends.heard.length === 3);
  });

  it("waits for nothing while the socket is full, and is sent when it is not", async () => {
    using ends = new Ends();
    const full = ends.socket.send(new Uint8Array(4 << 20));
    const start = performance.now();
    const asked = ends.socket.ask(bytes("question"), undefined, 10_000);
    assert.ok(performance.now() - start < 5000);
    assert.match((await ends.read((4 << 20) + 10)).text, /question\n$/);
    await Promise.all([full, asked]);
  });

  it("hears of an end that is gone", async () => {
    using ends = new Ends();
    ends.peer[Symbol.dispose]();
    await assert.rejects(ends.socket.ask(bytes("question"), undefined, 1000));
    assert.equal(ends.closed.length, 1);
  });
});

describe("a message with a descriptor", () => {
  it("passes it once, and closes the sender's", async () => {
    using ends = new Ends();
    using mine = openImage();
    const { ino } = mine.stat();
    const passed = mine.duplicate();
    await ends.socket.send(bytes("take this"), passed);
    assert.throws(() => passed.number, TypeError);
    const received = await ends.read(10);
    assert.equal(received.text, "take this\n");
    assert.deepEqual(received.passed.map((fd) => fstatx(fd).ino), [ino]);
    closeAll(received.passed);
    assert.doesNotThrow(() => mine.stat());
  });

  it("passes it once, though the message takes many sends", async () => {
    using ends = new Ends();
    const sent = ends.socket.send(new Uint8Array(2 << 20), openImage());
    const received = await ends.read((2 << 20) + 1);
    await sent;
    assert.equal(received.passed.length, 1);
    closeAll(received.passed);
  });

  it("waits with it for a socket that is full, each with its own message", async () => {
    using ends = new Ends();
    const first = ends.socket.send(new Uint8Array(2 << 20));
    const fds = Array.from({ length: 5 }, () => openImage());
    const later = fds.map((fd, i) => ends.socket.send(bytes(`fd ${i}`), fd));
    assert(fds.every((fd) => fd.number >= 0), "not given away before the kernel has it");
    const received = await ends.read((2 << 20) + 1 + 5 * 5);
    await Promise.all([first, ...later]);
    assert.equal(received.passed.length, 5);
    assert(fds.every((fd) => {
      try {
        return fd.number < 0;
      } catch {
        return true;
      }
    }));
    closeAll(received.passed);
  });

  it("closes it when it cannot be sent any more", async () => {
    using ends = new Ends();
    ends.socket[Symbol.dispose]();
    const passed = openImage();
    await assert.rejects(ends.socket.send(bytes("take this"), passed), /closed/);
    assert.throws(() => passed.number, TypeError);
  });

  it("closes those that waited when the connection ends", async () => {
    using ends = new Ends();
    const first = ends.socket.send(new Uint8Array(2 << 20));
    const passed = openImage();
    const second = ends.socket.send(bytes("take this"), passed);
    ends.peer[Symbol.dispose]();
    await assert.rejects(first);
    await assert.rejects(second);
    assert.throws(() => passed.number, TypeError);
  });
});

describe("a descriptor that comes unasked", () => {
  for (const count of [1, 2, 3, 16]) {
    it(`is closed, with ${count - 1} more in the same message`, async () => {
      using ends = new Ends();
      using image = openImage();
      const open = descriptors(folder).length;
      for (let i = 0; i < 3; i++) {
        sendSeveral(ends.peer, "here\n", Array.from({ length: count }, () => image.number));
        await until(() => ends.heard.length > i);
      }
      assert.equal(descriptors(folder).length, open);
    });
  }
});

describe("the end of a connection", () => {
  it("is heard once, without an error, when the other end closes", async () => {
    using ends = new Ends();
    ends.peer[Symbol.dispose]();
    await until(() => ends.closed.length > 0);
    ends.socket[Symbol.dispose]();
    assert.deepEqual(ends.closed, [undefined]);
  });

  it("comes after the messages that were sent before it", async () => {
    using ends = new Ends();
    sendRaw(ends.peer, "last words\nand ha");
    ends.peer[Symbol.dispose]();
    await until(() => ends.closed.length > 0);
    assert.deepEqual(ends.heard, ["last words"]);
  });

  it("is heard once when it is closed here, twice", () => {
    using ends = new Ends();
    ends.socket[Symbol.dispose]();
    ends.socket[Symbol.dispose]();
    assert.deepEqual(ends.closed, [undefined]);
  });

  it("rejects everything that waits to be sent", async () => {
    using ends = new Ends();
    const waiting = Array.from({ length: 3 }, () => ends.socket.send(new Uint8Array(1 << 20)));
    ends.socket[Symbol.dispose]();
    for (const result of await Promise.allSettled(waiting)) assert.equal(result.status, "rejected");
  });

  it("rejects what is sent to an end that is gone, and is no signal", async () => {
    using ends = new Ends();
    ends.peer[Symbol.dispose]();
    await assert.rejects(ends.socket.send(bytes("hello")), { code: "EPIPE" });
    assert.equal(ends.closed.length, 1);
  });
});
