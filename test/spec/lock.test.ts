import { after, afterEach, before, beforeEach, describe, it } from "node:test";
import assert from "node:assert/strict";
import { type ChildProcess, execFile, spawn, spawnSync } from "node:child_process";
import {
  constants,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AT_FDCWD, couldLock, openat2 } from "../../ffi/libc.ts";
import { ImageError } from "../../agent/image/image_error.ts";
import { lockImage, unlockImage } from "../../agent/image/lock.ts";
import { type Access, OwnedFd } from "../../agent/owned_fd.ts";
import { descriptors, until } from "../fakes/socket_pair.ts";

let folder: string;
let image: string;
let cases = 0;
before(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), "lock-")));
});
beforeEach(() => {
  image = join(folder, `image-${cases++}`);
  writeFileSync(image, "");
  truncateSync(image, 1 << 20);
});
afterEach(() => assert.deepEqual(descriptors(folder).filter((it) => it.startsWith(folder)), []));
after(() => rmSync(folder, { recursive: true }));

function openImage(access: Access, path = image): OwnedFd {
  const flags = access === "rw" ? constants.O_RDWR : constants.O_RDONLY;
  return new OwnedFd(openat2(AT_FDCWD, path, { flags, resolve: 0n }), path);
}

/** Bytes of the image that somebody else has locked, of those that QEMU uses. */
function lockedBytes(): number[] {
  using other = openImage("rw");
  return [100, 101, 102, 103, 200, 201, 202, 203].filter((start) =>
    !couldLock(other.number, { type: "write", start, length: 1 })
  );
}

function inUse(what: string): (error: unknown) => true {
  return (error) => {
    assert(error instanceof ImageError);
    assert.equal(error.code, "in-use");
    assert.equal(error.path, image);
    assert.equal(error.message, `${JSON.stringify(image)} is in use: another program ${what}`);
    assert.match(error.hint ?? "", /\/proc\/locks/);
    return true;
  };
}

describe("lockImage", () => {
  for (
    const [access, bytes] of [["rw", [100, 101, 201, 203]], ["ro", [100, 201, 203]]] as const
  ) {
    it(`locks bytes ${bytes.join(", ")} for ${access}, as QEMU's programs do`, () => {
      using fd = openImage(access);
      lockImage(fd, access);
      assert.deepEqual(lockedBytes(), [...bytes]);
    });
  }

  // deno-fmt-ignore
  const PAIRS: readonly (readonly [first: Access, second: Access, refusal: string | undefined])[] = [
    ["ro", "ro", undefined],
    ["ro", "rw", "uses it"],
    ["rw", "ro", "writes it"],
    ["rw", "rw", "uses it"],
  ];
  for (const [first, second, refusal] of PAIRS) {
    it(`${refusal === undefined ? "lets" : "does not let"} one ${second} join one ${first}`, () => {
      using one = openImage(first);
      using two = openImage(second);
      lockImage(one, first);
      if (refusal === undefined) lockImage(two, second);
      else {
        const before = lockedBytes();
        assert.throws(() => lockImage(two, second), inUse(refusal));
        assert.deepEqual(lockedBytes(), before, "what was refused leaves no lock");
        unlockImage(one);
        assert.doesNotThrow(() => lockImage(two, second), "and can be had when the first is gone");
      }
    });
  }

  it("may be taken again on the same open file, also to write what was read", () => {
    using fd = openImage("rw");
    lockImage(fd, "ro");
    lockImage(fd, "rw");
    assert.deepEqual(lockedBytes(), [100, 101, 201, 203]);
  });

  it("lives as long as a duplicate: with QEMU's it survives the agent", () => {
    using passed = (() => {
      using fd = openImage("rw");
      lockImage(fd, "rw");
      return fd.duplicate();
    })();
    using other = openImage("ro");
    assert.throws(() => lockImage(other, "ro"), inUse("writes it"));
    passed[Symbol.dispose]();
    lockImage(other, "ro");
  });

  it("gives a hint that finds the holder, whatever the image is called", async () => {
    image = join(folder, "it's $(touch hacked) a `disk`");
    writeFileSync(image, "");
    using one = openImage("rw");
    using two = openImage("rw");
    lockImage(one, "rw");
    const error = await Promise.resolve().then(() => lockImage(two, "rw")).catch((e) => e);
    const command = /^Find it: (.*)$/.exec((error as ImageError).hint ?? "")![1]!;
    const { stdout } = await run("sh", ["-c", `cd ${folder} && ${command}`]);
    assert.match(stdout, new RegExp(`:${statSync(image).ino} `));
    assert.throws(() => statSync(join(folder, "hacked")), { code: "ENOENT" });
  });
});

describe("unlockImage", () => {
  it("takes all of it back", () => {
    using fd = openImage("rw");
    lockImage(fd, "rw");
    unlockImage(fd);
    assert.deepEqual(lockedBytes(), []);
  });

  it("of what was not locked is nothing", () => {
    using fd = openImage("ro");
    unlockImage(fd);
  });
});

interface Ran {
  readonly ok: boolean;
  readonly stdout: string;
  readonly stderr: string;
}

function run(command: string, args: readonly string[]): Promise<Ran> {
  return new Promise((resolve) => {
    execFile(
      "timeout",
      ["20", command, ...args],
      (error, stdout, stderr) => resolve({ ok: error === null, stdout, stderr }),
    );
  });
}

const installed = ["qemu-img", "qemu-io"].every((name) => spawnSync(name, ["-V"]).status === 0);
const skip = installed ? false : "qemu-img and qemu-io are not installed";
const QEMU_IO = ["-f", "raw"];

describe("QEMU's programs, while an image is locked to be written", { skip }, () => {
  it("cannot write it", async () => {
    using fd = openImage("rw");
    lockImage(fd, "rw");
    const { ok, stderr } = await run("qemu-io", [...QEMU_IO, "-c", "write -P 7 0 512", image]);
    assert(!ok);
    assert.match(stderr, /Failed to get "write" lock/);
    assert.equal(readFileSync(image)[0], 0);
  });

  it("cannot resize it", async () => {
    using fd = openImage("rw");
    lockImage(fd, "rw");
    assert(!(await run("qemu-img", ["resize", ...QEMU_IO, image, "2M"])).ok);
    assert.equal(statSync(image).size, 1 << 20);
  });

  it("can tell about it", async () => {
    using fd = openImage("rw");
    lockImage(fd, "rw");
    const { ok, stdout } = await run("qemu-img", ["info", ...QEMU_IO, image]);
    assert(ok);
    assert.match(stdout, /virtual size: 1 MiB/);
  });

  it("can read it, if they can bear that it changes", async () => {
    using fd = openImage("rw");
    lockImage(fd, "rw");
    assert((await run("qemu-io", ["-r", ...QEMU_IO, "-c", "read 0 512", image])).ok);
  });

  it("can do all of it again once the descriptor is closed", async () => {
    {
      using fd = openImage("rw");
      lockImage(fd, "rw");
    }
    assert((await run("qemu-io", [...QEMU_IO, "-c", "write -P 7 0 512", image])).ok);
    assert.equal(readFileSync(image)[0], 7);
  });
});

describe("QEMU's programs, while an image is locked to be read", { skip }, () => {
  for (
    const [what, args, ok] of [
      ["can read it", ["-r", ...QEMU_IO, "-c", "read 0 512"], true],
      ["cannot write it", [...QEMU_IO, "-c", "write -P 7 0 512"], false],
    ] as const
  ) {
    it(what, async () => {
      using fd = openImage("ro");
      lockImage(fd, "ro");
      assert.equal((await run("qemu-io", [...args, image])).ok, ok);
      assert.equal(readFileSync(image)[0], 0);
    });
  }
});

describe("lockImage, while one of QEMU's programs has the image open", { skip }, () => {
  let child: ChildProcess | undefined;
  let ended: Promise<unknown>;
  afterEach(async () => {
    child?.kill();
    await ended;
    child = undefined;
  });

  /** Returns once the program has its lock on `byte`. */
  async function hold(command: string, args: readonly string[], byte: number): Promise<void> {
    child = spawn("timeout", ["20", command, ...args], { stdio: ["pipe", "ignore", "ignore"] });
    ended = new Promise((resolve) => child!.once("exit", resolve));
    await until(() => lockedBytes().includes(byte));
  }

  const io = (byte: number, ...args: string[]) => () =>
    hold("qemu-io", [...QEMU_IO, ...args, image], byte);
  const guest = (readonly: "on" | "off", byte: number) => () =>
    hold("qemu-system-x86_64", [
      ...["-M", "pc", "-S", "-display", "none", "-nodefaults", "-device", "virtio-blk-pci,drive=d"],
      ...["-drive", `if=none,id=d,format=raw,file=${image},readonly=${readonly}`],
    ], byte);
  const noGuest = spawnSync("qemu-system-x86_64", ["--version"]).status === 0
    ? false
    : "qemu-system-x86_64 is not installed";

  // deno-fmt-ignore
  const HELD: readonly (readonly [
    holder: string, hold: () => Promise<void>, access: Access, refusal: string | undefined, skip: false | string,
  ])[] = [
    ["qemu-io writes it",  io(101),           "rw", "uses it",   false],
    ["qemu-io writes it",  io(101),           "ro", "writes it", false],
    // Without a lock on 201 it lets others write.
    ["qemu-io reads it",   io(100, "-r"),     "rw", undefined,   false],
    ["qemu-io reads it",   io(100, "-r"),     "ro", undefined,   false],
    ["a guest writes it",  guest("off", 201), "rw", "uses it",   noGuest],
    ["a guest writes it",  guest("off", 201), "ro", "writes it", noGuest],
    ["a guest reads it",   guest("on", 201),  "rw", "uses it",   noGuest],
    ["a guest reads it",   guest("on", 201),  "ro", undefined,   noGuest],
  ];
  for (const [holder, hold, access, refusal, skip] of HELD) {
    const verb = refusal === undefined ? "grants" : "refuses";
    it(`${verb} ${access} where ${holder}`, { skip }, async () => {
      await hold();
      using fd = openImage(access);
      if (refusal === undefined) lockImage(fd, access);
      else assert.throws(() => lockImage(fd, access), inUse(refusal));
    });
  }
});
