import { after, afterEach, before, beforeEach, describe, it } from "node:test";
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, realpathSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  accept,
  AF_UNIX,
  connectUnix,
  listenUnix,
  SOCK_STREAM,
  socket,
} from "../../ffi/libc_socket.ts";
import { OwnedFd } from "../../agent/owned_fd.ts";
import {
  type Admit,
  call,
  type Interface,
  serve,
  VarlinkError,
} from "../../agent/service/varlink.ts";
import { VERSION } from "../../agent/version.ts";
import {
  descriptors,
  reactorAtRest,
  receiveRaw,
  requireNoMore,
  sendRaw,
  until,
} from "../fakes/socket_pair.ts";

let folder: string;
let path: string;
let atStart: string[];
before(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), "varlink-")));
  path = join(folder, "control");
});
beforeEach(() => {
  atStart = descriptors(folder);
});
afterEach(() => requireNoMore(atStart, folder));
after(reactorAtRest);
after(() => rmSync(folder, { recursive: true }));

/** Calls that were begun and ended, in their order. */
let log: string[];
beforeEach(() => {
  log = [];
});

const THINGS: Interface = {
  name: "io.example.Things",
  description: "interface io.example.Things\nmethod Echo(...) -> (...)\n",
  methods: {
    Echo: (parameters) => Promise.resolve(parameters),
    async Wait({ ms, name }) {
      log.push(`${name} begins`);
      await new Promise((resolve) => setTimeout(resolve, Number(ms)));
      log.push(`${name} ends`);
      return { name };
    },
    Fail: () => Promise.reject(Object.assign(new Error("it broke"), { hint: "Mend it." })),
    Unspeakable: () => Promise.resolve({ ino: 5n }),
  },
  failure: ({ message }) => ({ error: "io.example.Things.Failed", parameters: { message } }),
};

const anybody: Admit = () => true;
const serveThings = (admit: Admit = anybody): Disposable => serve(path, THINGS, [], admit);

/** A client of its own: bytes in, bytes out. */
class Client implements Disposable {
  readonly fd: OwnedFd;
  #text = "";

  constructor() {
    this.fd = new OwnedFd(socket(AF_UNIX, SOCK_STREAM), path);
    connectUnix(this.fd.number, path);
  }

  /** Replies so far; throws when the server has closed with less. */
  async replies(count: number): Promise<unknown[]> {
    await until(() => {
      const { bytes, ended } = receiveRaw(this.fd);
      this.#text += new TextDecoder().decode(bytes);
      assert(!ended || this.#text.split("\0").length > count, "the server closed");
      return this.#text.split("\0").length > count;
    });
    return this.#text.split("\0").slice(0, -1).map((text) => JSON.parse(text));
  }

  async closed(): Promise<void> {
    await until(() => {
      try {
        return receiveRaw(this.fd).ended;
      } catch (error) {
        return (error as { code?: string }).code === "ECONNRESET"; // Closed with bytes unread.
      }
    });
  }

  [Symbol.dispose](): void {
    this.fd[Symbol.dispose]();
  }
}

const request = (method: string, parameters: object = {}) =>
  `${JSON.stringify({ method: `io.example.Things.${method}`, parameters })}\0`;

describe("serve", () => {
  it("makes a socket that is root's alone, and takes it away", () => {
    const served = serveThings();
    assert(statSync(path).isSocket());
    assert.equal(statSync(path).mode & 0o777, 0o600);
    served[Symbol.dispose]();
    assert(!existsSync(path));
  });

  it("replaces a socket that was left over", async () => {
    writeFileSync(path, "");
    using _served = serveThings();
    assert.deepEqual(await call(path, "io.example.Things.Echo", { a: 1 }), { a: 1 });
  });

  it("leaves nothing open when the path is too long for a socket", () => {
    assert.throws(() => serve(join(folder, "x".repeat(120)), THINGS, [], anybody), RangeError);
  });

  it("tells about itself", async () => {
    using _served = serveThings();
    assert.deepEqual(await call(path, "org.varlink.service.GetInfo", {}), {
      vendor: "svirt-agent",
      product: "svirt-agent",
      version: VERSION,
      url: "",
      interfaces: ["org.varlink.service", "io.example.Things"],
    });
  });

  for (const name of ["org.varlink.service", "io.example.Things"]) {
    it(`describes ${name}`, async () => {
      using _served = serveThings();
      const args = { interface: name };
      const answer = await call(path, "org.varlink.service.GetInterfaceDescription", args);
      assert.match(String(answer["description"]), new RegExp(`^interface ${name}\n`));
    });
  }

  for (const name of ["io.example.Others", undefined]) {
    it(`describes no interface ${name}`, async () => {
      using _served = serveThings();
      await assert.rejects(
        call(path, "org.varlink.service.GetInterfaceDescription", { interface: name }),
        { name: "VarlinkError", error: "org.varlink.service.InterfaceNotFound" },
      );
    });
  }

  for (
    const method of [
      "io.example.Things.Nothing",
      "io.example.Things.constructor",
      "io.example.Things.__proto__",
      "io.example.Others.Echo",
      "constructor.keys",
      "Echo",
      "",
    ]
  ) {
    it(`has no method "${method}"`, async () => {
      using _served = serveThings();
      await assert.rejects(call(path, method, {}), (error) => {
        assert(error instanceof VarlinkError);
        assert.equal(error.error, "org.varlink.service.MethodNotFound");
        assert.deepEqual(error.parameters, { method });
        return true;
      });
    });
  }

  it("answers what a method throws with the interface's own error", async () => {
    using _served = serveThings();
    await assert.rejects(call(path, "io.example.Things.Fail", {}), {
      name: "VarlinkError",
      error: "io.example.Things.Failed",
      message: "it broke",
    });
  });

  it("answers with that error, too, what JSON cannot carry", async () => {
    using _served = serveThings();
    await assert.rejects(call(path, "io.example.Things.Unspeakable", {}), {
      name: "VarlinkError",
      error: "io.example.Things.Failed",
    });
  });

  it("answers the calls of one connection in their order, one after the other", async () => {
    using _served = serveThings();
    using client = new Client();
    const slow = request("Wait", { ms: 30, name: "slow" });
    sendRaw(client.fd, slow + request("Wait", { ms: 0, name: "fast" }) + request("Fail"));
    assert.deepEqual(await client.replies(3), [
      { parameters: { name: "slow" } },
      { parameters: { name: "fast" } },
      { error: "io.example.Things.Failed", parameters: { message: "it broke" } },
    ]);
    assert.deepEqual(log, ["slow begins", "slow ends", "fast begins", "fast ends"]);
  });

  it("lets one connection wait for none of another", async () => {
    using _served = serveThings();
    const slow = call(path, "io.example.Things.Wait", { ms: 50, name: "slow" });
    await call(path, "io.example.Things.Wait", { ms: 0, name: "fast" });
    await slow;
    assert.deepEqual(log.slice(-1), ["slow ends"]);
  });

  for (
    const [what, text] of [
      ["no JSON", "hello\0"],
      ["no object", "[]\0"],
      ["what is nested too deep", `{"method":${"[".repeat(100)}${"]".repeat(100)}}\0`],
      ["nothing", "\0"],
    ] as const
  ) {
    it(`hangs up on a client that says ${what}, and serves the others`, async () => {
      using _served = serveThings();
      using client = new Client();
      sendRaw(client.fd, text);
      await client.closed();
      assert.deepEqual(await call(path, "io.example.Things.Echo", {}), {});
    });
  }

  it("hangs up on a client that says too much", async () => {
    using _served = serveThings();
    using client = new Client();
    const part = "x".repeat(65536);
    await assert.rejects(async () => {
      for (let i = 0; i < 10_000; i++) {
        sendRaw(client.fd, part);
        await new Promise((resolve) => setTimeout(resolve, 0));
      }
    });
    assert.deepEqual(await call(path, "io.example.Things.Echo", {}), {});
  });

  it("finishes what a client asked that is gone in the middle, and serves the others", async () => {
    using _served = serveThings();
    const client = new Client();
    sendRaw(client.fd, request("Wait", { ms: 20, name: "slow" }));
    await until(() => log.length > 0);
    client[Symbol.dispose]();
    await until(() => log.length > 1);
    assert.deepEqual(log, ["slow begins", "slow ends"]);
    assert.deepEqual(await call(path, "io.example.Things.Echo", {}), {});
  });

  it("forgets half a request of a client that is gone", async () => {
    using _served = serveThings();
    const client = new Client();
    sendRaw(client.fd, request("Wait", { ms: 0, name: "half" }).slice(0, -1));
    client[Symbol.dispose]();
    assert.deepEqual(await call(path, "io.example.Things.Echo", {}), {});
    assert.deepEqual(log, []);
  });

  it("keeps no more than 64 connections", async () => {
    using _served = serveThings();
    const clients: Client[] = [];
    for (let i = 0; i < 70; i++) {
      clients.push(new Client());
      // Room in the backlog of 16.
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    for (const client of clients.slice(64)) await client.closed();
    sendRaw(clients[63]!.fd, request("Echo"));
    await clients[63]!.replies(1);
    for (const client of clients) client[Symbol.dispose]();
    await until(() => descriptors(folder).length <= atStart.length + 1);
    assert.deepEqual(await call(path, "io.example.Things.Echo", {}), {});
  });
});

describe("who is not admitted", () => {
  const noAnswer = async () => {
    using client = new Client();
    sendRaw(client.fd, request("Wait", { ms: 0, name: "secret" }));
    await client.closed();
    assert.deepEqual(log, [], "and nothing was done");
  };

  it("gets no answer", async () => {
    using _served = serveThings(() => false);
    await noAnswer();
    await assert.rejects(call(path, "io.example.Things.Echo", {}));
  });

  it("gets no answer where the question itself fails, and the next is asked about anew", async () => {
    let asked = 0;
    using _served = serveThings(() => {
      if (asked++ === 0) throw new Error("cannot know");
      return true;
    });
    await noAnswer();
    assert.deepEqual(await call(path, "io.example.Things.Echo", {}), {});
  });

  it("is asked about with the connection at hand", async () => {
    const numbers: number[] = [];
    using _served = serveThings(({ number }) => numbers.push(number) > 0);
    await call(path, "io.example.Things.Echo", {});
    assert.equal(numbers.length, 1);
    assert(numbers[0]! > 2);
  });

  const skip = existsSync("/sys/fs/selinux/enforce") ? "this kernel names the peer" : false;
  it("is everybody, root too, where SELinux names no peer", { skip }, async () => {
    using _served = serve(path, THINGS, ["svirt_t"]);
    await noAnswer();
    await noAnswer();
  });
});

describe("call", () => {
  it("fails where nobody serves", async () => {
    await assert.rejects(call(path, "a.B", {}), { name: "SystemError", code: "ENOENT", path });
  });

  it("fails where a server has died and left its socket", async () => {
    const dead = new OwnedFd(socket(AF_UNIX, SOCK_STREAM), path);
    listenUnix(dead.number, path, 1);
    dead[Symbol.dispose]();
    await assert.rejects(call(path, "a.B", {}), { name: "SystemError", code: "ECONNREFUSED" });
    rmSync(path);
  });

  for (
    const [what, reply, name] of [
      ["closes", "", /./],
      ["answers no JSON", "hello\0", /^SyntaxError$/],
      ["dies in the middle of its answer", '{"parameters":{', /./],
    ] as const
  ) {
    it(`fails when the server ${what}, and nothing is left to reject unheard`, async () => {
      using listener = new OwnedFd(socket(AF_UNIX, SOCK_STREAM), path);
      listenUnix(listener.number, path, 1);
      const answer = call(path, "a.B", {});
      {
        using connection = new OwnedFd(accept(listener.number)!, path);
        receiveRaw(connection);
        if (reply !== "") sendRaw(connection, reply);
      }
      await assert.rejects(answer, (error: Error) => name.test(error.name));
      rmSync(path);
    });
  }

  it("fails once, not twice, when the request cannot even be sent", async () => {
    using listener = new OwnedFd(socket(AF_UNIX, SOCK_STREAM), path);
    listenUnix(listener.number, path, 1);
    // Longer than what may wait: the queue's limit cuts it off.
    await assert.rejects(call(path, "a.B", { text: "x".repeat(17 << 20) }), /cut off$/);
    // An unheard rejection would end the process about now.
    await new Promise((resolve) => setTimeout(resolve, 20));
    rmSync(path);
  });
});
