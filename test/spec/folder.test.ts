import { after, before, describe, it } from "node:test";
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  constants,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { SystemError } from "../../ffi/errno.ts";
import {
  Folder,
  locate,
  openBeneath,
  openParent,
  requireSafe,
  requireSame,
} from "../../agent/image/folder.ts";
import { ImageError, shellWord } from "../../agent/image/image_error.ts";

const { O_RDONLY, O_RDWR, O_WRONLY, O_CREAT, O_EXCL } = constants;
const skip = process.getuid?.() === 0 ? false : "needs root: allowed folders belong to root";

describe("a folder of agent.toml", () => {
  for (
    const [what, uid, mode, safe] of [
      ["root's, mode 0755", 0, 0o40755, true],
      ["root's, mode 0700", 0, 0o40700, true],
      ["another user's", 107, 0o40755, false],
      ["writable by its group", 0, 0o40775, false],
      ["writable by everybody", 0, 0o40757, false],
      ["writable by everybody with the sticky bit", 0, 0o41777, false],
    ] as const
  ) {
    it(`${safe ? "may" : "must not"} be ${what}`, () => {
      const check = () => requireSafe("/srv/nfs", { uid, mode });
      if (safe) return check();
      assert.throws(check, (error) => {
        assert(error instanceof ImageError);
        assert.equal(error.code, "folder-unsafe");
        assert.match(error.hint ?? "", /chown root: \/srv\/nfs && chmod go-w \/srv\/nfs/);
        return true;
      });
    });
  }
});

describe("openBeneath", { skip }, () => {
  let top: string;
  let folder: Folder;
  const at = (name: string) => join(top, "images", name);
  const open = (name: string, flags = O_RDONLY) => openBeneath([folder], at(name), flags);

  before(() => {
    top = realpathSync(mkdtempSync(join(tmpdir(), "folder-")));
    mkdirSync(at("sub"), { recursive: true });
    mkdirSync(join(top, "images-of-others"));
    writeFileSync(join(top, "secret"), "secret");
    writeFileSync(at("web1.raw"), "image");
    writeFileSync(at("sub/web2.raw"), "image");
    writeFileSync(at("two-names"), "image");
    linkSync(at("two-names"), at("second-name"));
    symlinkSync("web1.raw", at("link"));
    symlinkSync("sub", at("sub-link"));
    symlinkSync("../secret", at("out"));
    symlinkSync("/proc/self/fd/0", at("magic"));
    execFileSync("mkfifo", [at("fifo")]);
    folder = Folder.open(join(top, "images"));
  });
  after(() => {
    folder?.[Symbol.dispose]();
    rmSync(top, { recursive: true });
  });

  for (const name of ["web1.raw", "sub/web2.raw", "./sub//web2.raw"]) {
    it(`opens ${name}`, () => {
      using fd = open(name, O_RDWR);
      assert.equal(fd.access, "rw");
      assert.equal(fd.stat().size, 5n);
    });
  }

  it("creates a file that did not exist, with the given mode", () => {
    using fd = openBeneath([folder], at("new.qcow2"), O_RDWR | O_CREAT | O_EXCL, 0o600);
    assert.equal(fd.stat().mode & 0o777, 0o600);
  });

  for (const name of ["link", "sub-link/web2.raw", "out", "magic"]) {
    it(`refuses the symbolic link in ${name} and says so`, () => {
      assert.throws(() => open(name), (error) => {
        assert(error instanceof SystemError);
        assert.equal(error.code, "ELOOP");
        assert.equal(error.path, at(name));
        assert.match(error.hint ?? "", /symbolic link; give the real path/);
        return true;
      });
    });
  }

  for (
    const [what, path, code] of [
      ["a path in no folder", () => join(top, "secret"), "outside-folders"],
      ["a neighbour whose name begins alike", () => `${top}/images-of-others/x`, "outside-folders"],
      ["a path with ..", () => `${top}/images/../secret`, "outside-folders"],
      ["a relative path", () => "images/web1.raw", "outside-folders"],
      ["the folder itself", () => `${top}/images/`, "not-an-image"],
      ["a folder beneath", () => at("sub"), "not-an-image"],
      ["a FIFO, without hanging", () => at("fifo"), "not-an-image"],
      ["a file with two names", () => at("two-names"), "hard-linked"],
      ["the other name of it", () => at("second-name"), "hard-linked"],
    ] as const
  ) {
    it(`refuses ${what}: ${code}`, () => {
      assert.throws(() => openBeneath([folder], path(), O_RDONLY), { name: "ImageError", code });
    });
  }

  it("refuses a folder opened for writing as what it is", () => {
    assert.throws(() => open("sub", O_RDWR), { code: "not-an-image", message: /is a folder/ });
  });

  it("refuses a character device by its kind", () => {
    using dev = Folder.open("/dev");
    assert.throws(() => openBeneath([dev], "/dev/null", O_RDONLY), {
      code: "not-an-image",
      message: /is a character device/,
    });
  });

  it("says where to look for a file that is not there", () => {
    assert.throws(() => open("no-such"), {
      code: "ENOENT",
      hint: `Is it spelt as it is there? ls -lZ ${shellWord(folder.path)}`,
    });
  });

  it("says what may be wrong where a socket or a FIFO cannot even be opened", async () => {
    const server = createServer().listen(at("socket"));
    await new Promise((resolve) => server.once("listening", resolve));
    try {
      assert.throws(() => open("socket"), { code: "ENXIO", hint: /socket/ });
      assert.throws(() => open("fifo", O_WRONLY), { code: "ENXIO", hint: /FIFO/ });
    } finally {
      server.close();
    }
  });

  it("names agent.toml's folders to whoever gives a path outside them", () => {
    assert.throws(() => locate([folder], "/etc/shadow"), {
      hint: `Name its folder under "folders" in agent.toml (now: ${folder.path}).`,
    });
  });

  it("takes the longest of several folders that hold the path", () => {
    using sub = Folder.open(at("sub"));
    assert.deepEqual(locate([folder, sub], at("sub/web2.raw")), { folder: sub, rest: "web2.raw" });
    assert.deepEqual(locate([sub, folder], at("subway")), { folder, rest: "subway" });
  });

  it("leaves no descriptor behind when it refuses", () => {
    const count = () => readdirSync("/proc/self/fd").length;
    const before = count();
    for (let i = 0; i < 20; i++) assert.throws(() => open("two-names"));
    assert(count() < before + 20);
  });

  it("goes on with the folder it opened when its name is moved away", () => {
    renameSync(join(top, "images"), join(top, "moved"));
    try {
      using fd = open("web1.raw");
      assert.equal(fd.stat().size, 5n);
    } finally {
      renameSync(join(top, "moved"), join(top, "images"));
    }
  });

  it("notices a file that was replaced between two opens", () => {
    writeFileSync(at("swap"), "one");
    using first = open("swap");
    using again = open("swap");
    requireSame(again, first.identity, at("swap"));
    writeFileSync(at("other"), "two");
    renameSync(at("other"), at("swap"));
    using second = open("swap");
    assert.throws(() => requireSame(second, first.identity, at("swap")), { code: "replaced" });
  });

  it("opens the folder that an image lies in, for unlinkat", () => {
    using parent = openParent([folder], at("sub/web2.raw"));
    using direct = Folder.open(at("sub"));
    assert.equal(parent.identity, direct.fd.identity);
    assert.throws(() => openParent([folder], `${top}/images`), { code: "outside-folders" });
  });

  it("says who names a folder that does not exist", () => {
    assert.throws(() => Folder.open(join(top, "none")), {
      code: "ENOENT",
      hint: /^agent\.toml names it under "folders": make it, or take it out/,
    });
  });

  it("refuses to serve from a folder that others may write", () => {
    mkdirSync(join(top, "loose"));
    chmodSync(join(top, "loose"), 0o777);
    assert.throws(() => Folder.open(join(top, "loose")), { code: "folder-unsafe" });
  });
});

describe("a path in a hint", () => {
  for (
    const [path, word] of [
      ["/srv/nfs/web-1_a.qcow2", "/srv/nfs/web-1_a.qcow2"],
      ["/srv/my images", "'/srv/my images'"],
      ["/srv/$(reboot)", "'/srv/$(reboot)'"],
      ["/srv/it's", "'/srv/it'\\''s'"],
    ] as const
  ) {
    it(`is one word of a shell command: ${path}`, () => assert.equal(shellWord(path), word));
  }
});
