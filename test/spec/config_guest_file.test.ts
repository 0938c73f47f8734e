import { after, before, describe, it } from "node:test";
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ConfigError } from "../../agent/config/config_error.ts";
import { readGuest } from "../../agent/config/guest_file.ts";

let folder: string;
let file: string;
before(() => {
  folder = mkdtempSync(join(tmpdir(), "config-guest-"));
  file = join(folder, "web1.toml");
});
after(() => rmSync(folder, { recursive: true }));

function read(toml: string | Uint8Array) {
  writeFileSync(file, toml);
  return readGuest(file);
}

/** The error of a file, with the name of its folder taken out. */
function errorOf(toml: string | Uint8Array): ConfigError {
  try {
    read(toml);
  } catch (error) {
    assert(error instanceof ConfigError);
    return error;
  }
  assert.fail("no error");
}

function messageOf(toml: string | Uint8Array): string {
  return errorOf(toml).message.replace(`${folder}/`, "");
}

const QEMU = '[qemu]\nbinary = "qemu"\nuser = "qemu"\n';
const GUEST = `name = "web1"\n${QEMU}`;
const ROOT = '[[image]]\nname = "root"\npath = "/srv/root.qcow2"\nformat = "qcow2"\n';

describe("readGuest", () => {
  it("reads the guest file of the design", () => {
    const guest = read(`
      name = "web1"
      [qemu]
      binary = "qemu-system-x86_64"
      args   = ["-machine", "q35", "-m", "2048", "-display", "none"]
      user   = "libvirt-qemu"
      accelerator = "tcg"

      [[image]]
      name   = "root"
      path   = "/srv/nfs/web1.qcow2"
      format = "qcow2"
      access = "rw"
      cache  = "writeback"
      device = "virtio-blk-pci"
      backing = [{ path = "/srv/nfs/base.qcow2", format = "qcow2", shared = true }]

      [[image]]
      name   = "cd"
      path   = "/srv/iso/debian.iso"
      format = "raw"
      access = "ro"
      device = "ide-cd"
      shared = true
    `);
    assert.deepEqual(guest, {
      name: "web1",
      qemu: {
        binary: "qemu-system-x86_64",
        args: ["-machine", "q35", "-m", "2048", "-display", "none"],
        user: "libvirt-qemu",
        accelerator: "tcg",
      },
      images: [
        {
          name: "root",
          path: "/srv/nfs/web1.qcow2",
          format: "qcow2",
          access: "rw",
          cache: "writeback",
          device: "virtio-blk-pci",
          shared: false,
          transient: false,
          backing: [{ path: "/srv/nfs/base.qcow2", format: "qcow2", shared: true }],
        },
        {
          name: "cd",
          path: "/srv/iso/debian.iso",
          format: "raw",
          access: "ro",
          cache: "none",
          device: "ide-cd",
          shared: true,
          transient: false,
          backing: [],
        },
      ],
      file,
    });
  });

  it("takes what is not said as kvm, rw, none, virtio-blk-pci, no backing, neither shared nor transient", () => {
    const { qemu, images } = read(`${GUEST}${ROOT}backing = [{ path = "/b", format = "raw" }]\n`);
    assert.deepEqual(qemu, { binary: "qemu", args: [], user: "qemu", accelerator: "kvm" });
    const { access, cache, device, shared, transient, backing } = images[0]!;
    assert.deepEqual({ access, cache, device, shared, transient }, {
      access: "rw",
      cache: "none",
      device: "virtio-blk-pci",
      shared: false,
      transient: false,
    });
    assert.deepEqual(backing, [{ path: "/b", format: "raw", shared: false }]);
  });

  it("takes the words for what is the default anyway", () => {
    assert.equal(read(`labels = "descriptor"\n${GUEST}`).name, "web1");
  });

  it("has a fence of its own, or leaves that to agent.toml", () => {
    assert.equal(read(`fence = "owner"\n${GUEST}`).fence, "owner");
    assert.equal(read(`fence = "off"\n${GUEST}`).fence, "off");
    assert.equal("fence" in read(GUEST), false);
  });

  for (
    const [what, toml, message] of [
      ["no name", QEMU, "name: missing"],
      ["no [qemu]", 'name = "web1"', "qemu: missing (describe it as [qemu])"],
      [
        "no binary",
        'name = "web1"\n[qemu]\nuser = "q"',
        'qemu.binary: missing (say "qemu-system-x86_64")',
      ],
      [
        "no user",
        'name = "web1"\n[qemu]\nbinary = "q"',
        'qemu.user: missing (say "libvirt-qemu" or another unprivileged user)',
      ],
      [
        "no format",
        `${GUEST}[[image]]\nname = "root"\npath = "/a"`,
        'image[0].format: missing (say "qcow2" or "raw")',
      ],
      [
        "no format of a backing file",
        `${GUEST}${ROOT}backing = [{ path = "/b" }]`,
        'image[0].backing[0].format: missing (say "qcow2" or "raw")',
      ],
      [
        "a probed format",
        `${GUEST}${ROOT.replace('"qcow2"\n', '"auto"\n')}`,
        'image[0].format: "auto" is not known (say "qcow2" or "raw")',
      ],
      [
        "an unknown key near a known one",
        `${GUEST}${ROOT}acess = "ro"`,
        'image[0].acess: unknown key (did you mean "access"?)',
      ],
      [
        "an unknown key",
        `${GUEST}vcpus = 4`,
        "qemu.vcpus: unknown key (known: monitor, binary, args, user, accelerator)",
      ],
      ["a key that needs quotes", `"a b" = 1\n${GUEST}`, /^web1\.toml: "a b": unknown key/],
      ["an integer for a string", `name = 3\n${QEMU}`, "name: expected a string, got integer 3"],
      ["a float for a string", `name = 3.0\n${QEMU}`, "name: expected a string, got float 3"],
      [
        "a string for a table",
        'name = "web1"\nqemu = "x"',
        'qemu: expected a table, got string "x"',
      ],
      [
        "a table for an array",
        `${GUEST}[image]\nname = "root"`,
        "image: expected an array, got a table",
      ],
      [
        "a string for a boolean",
        `${GUEST}${ROOT}backing = [{ path = "/b", format = "raw", shared = "yes" }]`,
        'image[0].backing[0].shared: expected true or false, got string "yes"',
      ],
      ["a date for a string", `name = 2026-01-01\n${QEMU}`, "name: expected a string, got a date"],
      [
        "an upper-case name",
        `name = "Web1"\n${QEMU}`,
        'name: "Web1" is no name of a guest (lower-case letters, digits, ".", "_", "-"; at most 63)',
      ],
      [
        "a name that is a folder",
        `name = ".."\n${QEMU}`,
        /^web1\.toml: name: "\.\." is no name of a guest/,
      ],
      [
        "an image name that QEMU would not take",
        `${GUEST}${ROOT.replace('"root"', '"0root"')}`,
        'image[0].name: "0root" is no name of an image (a letter, then letters, digits, "-", "_"; at most 20)',
      ],
      [
        "a relative path",
        `${GUEST}${ROOT.replace("/srv/", "")}`,
        'image[0].path: "root.qcow2" is not absolute',
      ],
      [
        "a path with ..",
        `${GUEST}${ROOT.replace("/srv/", "/srv/../etc/")}`,
        'image[0].path: "/srv/../etc/root.qcow2" has a component ".."',
      ],
      [
        "a path with NUL",
        `${GUEST}${ROOT.replace("/srv/", "/srv/\\u0000")}`,
        'image[0].path: "/srv/\\u0000root.qcow2" holds a NUL character',
      ],
      [
        "a path of a folder",
        `${GUEST}${ROOT.replace("root.qcow2", "")}`,
        'image[0].path: "/srv/" names a folder, not a file',
      ],
      [
        "an image name twice",
        `${GUEST}${ROOT}${ROOT.replace("/srv", "/srv/2")}`,
        'image[1].name: "root" is already image[0].name',
      ],
      [
        "a path twice, spelt differently",
        `${GUEST}${ROOT}${ROOT.replace('"root"', '"data"').replace("/srv", "/srv/.//")}`,
        'image[1].path: "/srv/root.qcow2" is already image[0].path',
      ],
      [
        "an image that is its own backing file",
        `${GUEST}${ROOT}backing = [{ path = "/srv/root.qcow2", format = "raw" }]`,
        'image[0].backing[0].path: "/srv/root.qcow2" is already image[0].path',
      ],
      [
        "a raw image with a backing file",
        `${GUEST}${
          ROOT.replace('"qcow2"\n', '"raw"\n')
        }backing = [{ path = "/b", format = "raw" }]`,
        "image[0].backing[0]: stands below a raw file, which has no backing file",
      ],
      [
        "a chain that goes on below a raw file",
        `${GUEST}${ROOT}backing = [{ path = "/b", format = "raw" }, { path = "/c", format = "qcow2" }]`,
        "image[0].backing[1]: stands below a raw file, which has no backing file",
      ],
      [
        "root as QEMU's user",
        GUEST.replace('user = "qemu"', 'user = "root"'),
        'qemu.user: "root" is root (name an unprivileged user)',
      ],
      [
        "uid 0 as QEMU's user",
        GUEST.replace('user = "qemu"', 'user = "00"'),
        'qemu.user: "00" is root (name an unprivileged user)',
      ],
      [
        "a device with a file in it",
        `${GUEST}${ROOT}device = "virtio-blk-pci,romfile=/x"`,
        'image[0].device: "virtio-blk-pci,romfile=/x" is no name of a device model',
      ],
      [
        "a relative binary",
        GUEST.replace('"qemu"', '"./qemu"'),
        'qemu.binary: "./qemu" is neither absolute nor a name to look up in PATH',
      ],
      [
        "a fence of another kind",
        `fence = "mode"\n${GUEST}`,
        'fence: "mode" is not known (say "off" or "owner")',
      ],
      [
        "a format that is neither",
        `${GUEST}${ROOT.replace('"qcow2"\n', '"vmdk"\n')}`,
        'image[0].format: "vmdk" is not known (say "qcow2" or "raw")',
      ],
      [
        "a CD drive that would write",
        `${GUEST}${ROOT}device = "ide-cd"`,
        'image[0].access: "ide-cd" is a CD drive, which only reads (say access = "ro")',
      ],
      [
        "an IDE disk that only reads",
        `${GUEST}${ROOT}device = "ide-hd"\naccess = "ro"`,
        'image[0].device: "ide-hd" takes no image that is only read (say "virtio-blk-pci", "scsi-hd" or "ide-cd")',
      ],
      [
        "an image that is shared and written",
        `${GUEST}${ROOT}shared = true`,
        "image[0].shared: what may be shared is never written",
      ],
      [
        "a transient image that only reads",
        `${GUEST}${ROOT}transient = true\naccess = "ro"`,
        "image[0].transient: a guest that only reads has no writes to throw away (leave it out)",
      ],
      [
        "a transient flash chip",
        `${GUEST}${ROOT}transient = true\ndevice = "pflash"`,
        'image[0].transient: "pflash" has to be there when QEMU starts, before it can make an overlay',
      ],
      [
        "a third flash chip",
        GUEST +
        ["a", "b", "c"].map((name) => ROOT.replaceAll("root", name) + 'device = "pflash"\n').join(
          "",
        ),
        "image[2].device: a guest has at most 2 flash chips",
      ],
      [
        "more PCI devices than there are slots for",
        GUEST + Array.from({ length: 105 }, (_, i) => ROOT.replaceAll("root", `disk${i}`)).join(""),
        "image[104].device: a guest has at most 104 images on PCI",
      ],
      ["sVirt's labels", `labels = "svirt"\n${GUEST}`, 'labels: "svirt" is not supported yet'],
      [
        "a monitor, before what else is missing",
        'name = "web1"\n[qemu]\nmonitor = "/run/x"',
        "qemu.monitor: attaching to a QEMU that runs already is not supported yet",
      ],
    ] as [string, string, string | RegExp][]
  ) {
    it(`refuses ${what}`, () => {
      if (typeof message === "string") assert.equal(messageOf(toml), `web1.toml: ${message}`);
      else assert.match(messageOf(toml), message);
    });
  }

  for (
    const [what, text] of [
      ["line ends of other systems", `${GUEST}${ROOT}`.replaceAll("\n", "\r\n")],
      ["a byte order mark", `\ufeff${GUEST}${ROOT}`],
    ] as const
  ) {
    it(`reads a file with ${what}`, () => {
      const { name, images } = read(text);
      assert.deepEqual([name, images[0]?.path, images[0]?.format], [
        "web1",
        "/srv/root.qcow2",
        "qcow2",
      ]);
    });
  }

  it("keeps file, key and hint beside the message", () => {
    const { file: where, key, hint } = errorOf(`labels = "svirt"\n${GUEST}`);
    assert.equal(where, file);
    assert.equal(key, "labels");
    assert.match(hint ?? "", /^Leave it out/);
  });

  it("points at line and column of a TOML syntax error", () => {
    const error = errorOf('name = "web1"\nfoo = = 1\n');
    assert.equal(error.line, 2);
    assert.equal(error.column, 7);
    assert.match(error.message, /web1\.toml:2:7: [^\n]+$/);
  });

  for (
    const [what, bytes, message] of [
      ["text that is not UTF-8", Buffer.from('name = "\xff"', "latin1"), "web1.toml: not UTF-8"],
      [
        "a file of more than 1 MiB",
        Buffer.alloc((1 << 20) + 1, "#"),
        "web1.toml: longer than 1048576 bytes",
      ],
      ["a key that stands twice", 'name = "a"\nname = "b"', /^web1\.toml:2:1: /],
    ] as [string, string | Uint8Array, string | RegExp][]
  ) {
    it(`refuses ${what}`, () => {
      if (typeof message === "string") assert.equal(messageOf(bytes), message);
      else assert.match(messageOf(bytes), message);
    });
  }

  it("says that a file does not exist, and what to do", () => {
    assert.throws(() => readGuest(join(folder, "none.toml")), (error) => {
      assert(error instanceof ConfigError);
      assert.equal(error.message, `${folder}/none.toml: does not exist`);
      assert.match(error.hint ?? "", /man page/);
      return true;
    });
  });

  it("refuses a folder, and a FIFO without hanging", () => {
    assert.throws(() => readGuest(folder), { message: `${folder}: not a regular file` });
    execFileSync("mkfifo", [join(folder, "fifo")]);
    assert.throws(() => readGuest(join(folder, "fifo")), { message: /: not a regular file$/ });
  });
});
