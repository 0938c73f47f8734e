import { after, before, describe, it } from "node:test";
import assert from "node:assert/strict";
import {
  chownSync,
  constants,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import fc from "fast-check";
import * as libc from "../../ffi/libc.ts";
import { mknodat } from "../../ffi/libc_device.ts";

const { O_APPEND, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_RDONLY, O_RDWR } = constants;
const { AT_FDCWD, RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS } = libc;

let top: string;
before(() => {
  top = realpathSync(mkdtempSync(join(tmpdir(), "libc-")));
  mkdirSync(join(top, "folder/inner"), { recursive: true });
  writeFileSync(join(top, "folder/file"), "0123456789");
  writeFileSync(join(top, "outside"), "secret");
  symlinkSync("file", join(top, "folder/link"));
  symlinkSync("inner", join(top, "folder/way"));
  writeFileSync(join(top, "folder/inner/deep"), "");
  symlinkSync("../outside", join(top, "folder/out"));
  symlinkSync(join(top, "folder/file"), join(top, "folder/absolute"));
});
after(() => rmSync(top, { recursive: true }));

/** Descriptors that a test opened, closed with it. */
class Opened implements Disposable {
  readonly #fds: number[] = [];
  add(fd: number): number {
    this.#fds.push(fd);
    return fd;
  }
  open(path: string, flags = O_RDWR, resolve = 0n, dirfd: number = AT_FDCWD): number {
    return this.add(libc.openat2(dirfd, path, { flags, resolve }));
  }
  [Symbol.dispose](): void {
    for (const fd of this.#fds) libc.close(fd);
  }
}

/** A file of its own for each test. */
let files = 0;
function newFile(content = "0123456789"): string {
  const path = join(top, `file-${files++}`);
  writeFileSync(path, content);
  return path;
}

describe("openat2", () => {
  it("adds close-on-exec", () => {
    using opened = new Opened();
    const fd = opened.open(join(top, "folder/file"));
    const flags = /^flags:\s+(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "utf8"))![1]!;
    assert(Number.parseInt(flags, 8) & libc.O_CLOEXEC);
  });

  it("creates with the mode that was asked", () => {
    using opened = new Opened();
    const path = join(top, "created");
    const flags = O_RDWR | O_CREAT | O_EXCL;
    opened.add(libc.openat2(AT_FDCWD, path, { flags, mode: 0o600, resolve: 0n }));
    assert.equal(statSync(path).mode & 0o7777, 0o600);
    assert.throws(() => libc.openat2(AT_FDCWD, path, { flags, mode: 0o600, resolve: 0n }), {
      name: "SystemError",
      operation: "openat2",
      code: "EEXIST",
      path,
    });
  });

  // deno-fmt-ignore
  const CASES: readonly (readonly [path: string, flags: number, resolve: bigint, code: string | undefined])[] = [
    ["file",       O_RDONLY,              0n,                    undefined],
    ["link",       O_RDONLY,              0n,                    undefined],
    ["link",       O_RDONLY | O_NOFOLLOW, 0n,                    "ELOOP"],
    ["link",       O_RDONLY,              RESOLVE_NO_SYMLINKS,   "ELOOP"],
    ["way/deep",   O_RDONLY | O_NOFOLLOW, 0n,                    undefined],
    ["way/deep",   O_RDONLY,              RESOLVE_NO_SYMLINKS,   "ELOOP"],
    ["link",       O_RDONLY,              RESOLVE_BENEATH,       undefined],
    ["out",        O_RDONLY,              0n,                    undefined],
    ["out",        O_RDONLY,              RESOLVE_BENEATH,       "EXDEV"],
    ["absolute",   O_RDONLY,              RESOLVE_BENEATH,       "EXDEV"],
    ["../outside", O_RDONLY,              RESOLVE_BENEATH,       "EXDEV"],
    ["inner/../file", O_RDONLY,           RESOLVE_BENEATH,       undefined],
    ["/etc/passwd", O_RDONLY,             RESOLVE_BENEATH,       "EXDEV"],
    ["file/x",     O_RDONLY,              0n,                    "ENOTDIR"],
    ["nowhere",    O_RDONLY,              0n,                    "ENOENT"],
    ["inner",      O_RDWR,                0n,                    "EISDIR"],
  ];
  for (const [path, flags, resolve, code] of CASES) {
    const how = [
      flags & O_NOFOLLOW ? "O_NOFOLLOW" : "",
      resolve === RESOLVE_BENEATH ? "RESOLVE_BENEATH" : "",
      resolve === RESOLVE_NO_SYMLINKS ? "RESOLVE_NO_SYMLINKS" : "",
    ].filter(Boolean).join(" and ") || "nothing else";
    it(`of "${path}" with ${how} ${code === undefined ? "opens it" : `is ${code}`}`, () => {
      using opened = new Opened();
      const dir = opened.open(join(top, "folder"), O_RDONLY | O_DIRECTORY);
      if (code === undefined) opened.open(path, flags, resolve, dir);
      else assert.throws(() => opened.open(path, flags, resolve, dir), { code, path });
    });
  }

  it("of /proc/self/fd/N with RESOLVE_NO_MAGICLINKS is ELOOP", () => {
    using opened = new Opened();
    const path = `/proc/self/fd/${opened.open(join(top, "folder/file"))}`;
    opened.open(path, O_RDONLY);
    assert.throws(() => opened.open(path, O_RDONLY, RESOLVE_NO_MAGICLINKS), { code: "ELOOP" });
  });

  it("never opens what stands before a NUL", () => {
    assert.throws(() => libc.openat2(AT_FDCWD, "/etc/passwd\0.img", { flags: 0, resolve: 0n }), {
      name: "TypeError",
    });
  });
});

describe("statx", () => {
  it("says what node:fs says, of a path, a descriptor and a name", () => {
    using opened = new Opened();
    const path = newFile();
    linkSync(path, `${path}-2`);
    if (process.getuid!() === 0) chownSync(path, 1234, 4321);
    const node = statSync(path, { bigint: true });
    const [major, minor] = [
      Number((node.dev >> 8n) & 0xfffn),
      Number((node.dev & 0xffn) | ((node.dev >> 12n) & 0xfff00n)),
    ];
    const { mountId, ...said } = libc.statx(path);
    assert.deepEqual(said, {
      mode: Number(node.mode),
      nlink: 2,
      uid: Number(node.uid),
      gid: Number(node.gid),
      ino: node.ino,
      size: 10n,
      rdevMajor: 0,
      rdevMinor: 0,
      devMajor: major,
      devMinor: minor,
    });
    assert.deepEqual(libc.fstatx(opened.open(path)), { ...said, mountId });
    assert.deepEqual(libc.lstatx(AT_FDCWD, path), { ...said, mountId });
  });

  it("says which device a node stands for, also one with a large minor number", () => {
    using opened = new Opened();
    const path = newFile();
    const folder = opened.open(dirname(path), O_RDONLY | O_DIRECTORY);
    try {
      mknodat(folder, `${basename(path)}-node`, 0o600, 259, 4660);
    } catch (error) {
      // Not root, or in a container without CAP_MKNOD.
      assert.equal((error as { code?: string }).code, "EPERM");
      return;
    }
    const { mode, rdevMajor, rdevMinor } = libc.statx(`${path}-node`);
    assert.deepEqual([mode, rdevMajor, rdevMinor], [constants.S_IFBLK | 0o600, 259, 4660]);
  });

  it("says the id of a mount of /proc/self/mountinfo", () => {
    const mounts = readFileSync("/proc/self/mountinfo", "utf8").trim().split("\n");
    const { mountId, devMajor, devMinor } = libc.statx("/proc");
    const [, , device] = mounts.find((line) => line.startsWith(`${mountId} `))!.split(" ");
    assert.equal(device, `${devMajor}:${devMinor}`);
  });

  it("follows a link, which lstatx does not", () => {
    const path = join(top, "folder/link");
    assert.equal(libc.statx(path).ino, statSync(path, { bigint: true }).ino);
    assert.equal(libc.lstatx(AT_FDCWD, path).ino, lstatSync(path, { bigint: true }).ino);
  });

  it("answers for the open file behind /proc/self/fd/N, also when its name is gone", () => {
    using opened = new Opened();
    const path = newFile();
    const fd = opened.open(path);
    rmSync(path);
    assert.equal(libc.statx(`/proc/self/fd/${fd}`).ino, libc.fstatx(fd).ino);
    assert.equal(libc.fstatx(fd).nlink, 0);
  });

  it("says which path or descriptor there is not", () => {
    const path = join(top, "nowhere");
    assert.throws(() => libc.statx(path), { operation: "statx", code: "ENOENT", path });
    assert.throws(() => libc.fstatx(-1), { operation: "statx", code: "EBADF", path: "fd -1" });
  });
});

describe("setLock", () => {
  const read = (start: number) => ({ type: "read", start, length: 1 }) as const;
  const write = (start: number) => ({ type: "write", start, length: 1 }) as const;
  const unlock = (start: number) => ({ type: "unlock", start, length: 1 }) as const;

  // deno-fmt-ignore
  const CASES = [
    ["read",  "read",  true],
    ["read",  "write", false],
    ["write", "read",  false],
    ["write", "write", false],
  ] as const;
  for (const [held, wanted, granted] of CASES) {
    it(`${granted ? "grants" : "refuses"} a ${wanted} lock where another open file of this process has a ${held} lock`, () => {
      using opened = new Opened();
      const path = newFile();
      const [one, two] = [opened.open(path), opened.open(path)];
      libc.setLock(one, { type: held, start: 100, length: 1 });
      const lock = { type: wanted, start: 100, length: 1 };
      assert.equal(libc.couldLock(two, lock), granted);
      if (granted) libc.setLock(two, lock);
      else assert.throws(() => libc.setLock(two, lock), { code: "EAGAIN", path: `fd ${two}` });
    });
  }

  it("locks the byte it names and not its neighbours", () => {
    using opened = new Opened();
    const path = newFile();
    const [one, two] = [opened.open(path), opened.open(path)];
    libc.setLock(one, write(100));
    assert.deepEqual([99, 100, 101].map((byte) => libc.couldLock(two, write(byte))), [
      true,
      false,
      true,
    ]);
  });

  it("locks to the end of the file, and behind it, with length 0", () => {
    using opened = new Opened();
    const path = newFile();
    const [one, two] = [opened.open(path), opened.open(path)];
    libc.setLock(one, { type: "write", start: 5, length: 0 });
    assert.equal(libc.couldLock(two, write(4)), true);
    assert.equal(libc.couldLock(two, write(2 ** 40)), false);
  });

  it("never conflicts with itself: couldLock shows only what others hold", () => {
    using opened = new Opened();
    const fd = opened.open(newFile());
    libc.setLock(fd, write(100));
    assert.equal(libc.couldLock(fd, write(100)), true);
    libc.setLock(fd, read(100));
  });

  it("lives on in a duplicate, and ends with the last one", () => {
    using opened = new Opened();
    const path = newFile();
    const other = opened.open(path);
    const first = libc.openat2(AT_FDCWD, path, { flags: O_RDWR, resolve: 0n });
    libc.setLock(first, write(100));
    const second = libc.dup(first);
    libc.close(first);
    assert.equal(libc.couldLock(other, read(100)), false);
    libc.close(second);
    assert.equal(libc.couldLock(other, read(100)), true);
  });

  it("is not given up when another open file of the same file is closed, as fcntl's own would be", () => {
    using opened = new Opened();
    const path = newFile();
    const [one, two] = [opened.open(path), opened.open(path)];
    libc.setLock(one, write(100));
    libc.close(libc.openat2(AT_FDCWD, path, { flags: O_RDWR, resolve: 0n }));
    assert.equal(libc.couldLock(two, read(100)), false);
  });

  it("takes a lock back", () => {
    using opened = new Opened();
    const path = newFile();
    const [one, two] = [opened.open(path), opened.open(path)];
    libc.setLock(one, write(100));
    libc.setLock(one, unlock(100));
    assert.equal(libc.couldLock(two, write(100)), true);
  });

  it("refuses a write lock on a descriptor that cannot write", () => {
    using opened = new Opened();
    const fd = opened.open(newFile(), O_RDONLY);
    libc.setLock(fd, read(100));
    assert.throws(() => libc.setLock(fd, write(100)), { code: "EBADF" });
  });

  it("refuses a descriptor that is not open", () => {
    assert.throws(() => libc.setLock(-1, read(0)), {
      operation: "fcntl F_OFD_SETLK",
      code: "EBADF",
    });
    assert.throws(() => libc.couldLock(-1, read(0)), {
      operation: "fcntl F_OFD_GETLK",
      code: "EBADF",
    });
  });
});

describe("pread", () => {
  it("reads at an offset and leaves the open file's own where it was", () => {
    using opened = new Opened();
    const fd = opened.open(newFile());
    const buffer = new Uint8Array(3);
    assert.equal(libc.pread(fd, buffer, 4), 3);
    assert.equal(new TextDecoder().decode(buffer), "456");
    assert.match(readFileSync(`/proc/self/fdinfo/${fd}`, "utf8"), /^pos:\s+0$/m);
  });

  for (const [offset, length] of [[8, 2], [10, 0], [1000, 0]] as const) {
    it(`reads ${length} of 4 bytes at ${offset} of a file of 10`, () => {
      using opened = new Opened();
      const buffer = new Uint8Array(4).fill(0x78);
      assert.equal(libc.pread(opened.open(newFile()), buffer, offset), length);
      assert.deepEqual([...buffer.subarray(length)], Array(4 - length).fill(0x78));
    });
  }

  it("reads behind 2**32, and 2**53", () => {
    using opened = new Opened();
    const fd = opened.open(newFile(""));
    const far = 2n ** 33n + 1n;
    libc.pwrite(fd, new TextEncoder().encode("far"), far);
    const buffer = new Uint8Array(3);
    assert.equal(libc.pread(fd, buffer, far), 3);
    assert.equal(new TextDecoder().decode(buffer), "far");
    assert.equal(libc.pread(fd, buffer, 2n ** 60n), 0);
  });

  it("says which descriptor cannot be read", () => {
    assert.throws(() => libc.pread(-1, new Uint8Array(1), 0), { code: "EBADF", path: "fd -1" });
    using opened = new Opened();
    const fd = opened.open(newFile());
    assert.throws(() => libc.pread(fd, new Uint8Array(1), -1), { code: "EINVAL" });
  });
});

describe("pwrite", () => {
  it("reads back what was written, wherever", () => {
    using opened = new Opened();
    const fd = opened.open(newFile());
    const bytes = fc.uint8Array({ minLength: 1, maxLength: 100 });
    fc.assert(fc.property(bytes, fc.integer({ min: 0, max: 100_000 }), (bytes, offset) => {
      libc.pwrite(fd, bytes, offset);
      const back = new Uint8Array(bytes.length);
      assert.equal(libc.pread(fd, back, offset), bytes.length);
      assert.deepEqual(back, bytes);
    }));
  });

  it("of no bytes changes nothing, but asks the kernel: the canary", () => {
    using opened = new Opened();
    const path = newFile();
    const { size, mtimeNs } = statSync(path, { bigint: true });
    libc.pwrite(opened.open(path), new Uint8Array(0), 0);
    const now = statSync(path, { bigint: true });
    assert.deepEqual([now.size, now.mtimeNs], [size, mtimeNs]);
    const readOnly = opened.open(path, O_RDONLY);
    assert.throws(() => libc.pwrite(readOnly, new Uint8Array(0), 0), { code: "EBADF" });
  });
});

describe("dup", () => {
  it("is a second descriptor of the same open file, close-on-exec", () => {
    using opened = new Opened();
    const fd = opened.open(newFile(), O_RDWR | O_APPEND);
    const copy = opened.add(libc.dup(fd));
    assert.notEqual(copy, fd);
    assert.equal(libc.statusFlags(copy), libc.statusFlags(fd));
    assert(libc.statusFlags(copy) & O_APPEND);
    assert.equal(libc.fstatx(copy).ino, libc.fstatx(fd).ino);
    libc.setLock(fd, { type: "write", start: 0, length: 1 });
    libc.setLock(copy, { type: "write", start: 0, length: 1 });
    const flags = /^flags:\s+(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${copy}`, "utf8"))![1]!;
    assert(Number.parseInt(flags, 8) & libc.O_CLOEXEC);
  });

  it("works on when the first is closed", () => {
    const first = libc.openat2(AT_FDCWD, newFile(), { flags: O_RDONLY, resolve: 0n });
    const copy = libc.dup(first);
    libc.close(first);
    assert.equal(libc.pread(copy, new Uint8Array(1), 0), 1);
    libc.close(copy);
    assert(!readdirSync("/proc/self/fd").includes(String(copy)));
  });
});

describe("ftruncate and unlinkat", () => {
  it("ftruncate sets the size", () => {
    using opened = new Opened();
    const fd = opened.open(newFile());
    libc.ftruncate(fd, 2n ** 33n);
    assert.equal(libc.fstatx(fd).size, 2n ** 33n);
    libc.ftruncate(fd, 0);
    assert.equal(libc.fstatx(fd).size, 0n);
    libc.fdatasync(fd);
  });

  it("fdatasync and ftruncate name the descriptor that they failed on", () => {
    assert.throws(() => libc.fdatasync(-1), { operation: "fdatasync", code: "EBADF" });
    assert.throws(() => libc.ftruncate(-1, 0), { operation: "ftruncate", code: "EBADF" });
  });

  it("unlinkat takes a name out of the directory that is held, and no other", () => {
    using opened = new Opened();
    writeFileSync(join(top, "folder/inner/gone"), "");
    const dir = opened.open(join(top, "folder/inner"), O_RDONLY | O_DIRECTORY);
    libc.unlinkat(dir, "gone");
    assert(!readdirSync(join(top, "folder/inner")).includes("gone"));
    assert.throws(() => libc.unlinkat(dir, "gone"), { code: "ENOENT", path: "gone" });
  });
});
