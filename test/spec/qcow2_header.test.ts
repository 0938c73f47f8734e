import { after, before, describe, it } from "node:test";
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { constants, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { AT_FDCWD, openat2 } from "../../ffi/libc.ts";
import { OwnedFd } from "../../agent/owned_fd.ts";
import { type Header, parseQcow2, readHeader } from "../../agent/image/header.ts";
import { ImageError } from "../../agent/image/image_error.ts";

const BACKING_FORMAT = 0xe2792aca;
const DATA_FILE = 0x44415441;

type Extension = readonly [type: number, text: string];

interface Parts {
  version?: number;
  size?: bigint;
  clusterBits?: number;
  encryption?: number;
  incompatible?: bigint;
  backing?: string;
  extensions?: readonly Extension[];
}

/** A first cluster of 64 KiB, as the specification lays it out. */
function qcow2(parts: Parts = {}): Uint8Array {
  const bytes = new Uint8Array(65536);
  const view = new DataView(bytes.buffer);
  const version = parts.version ?? 3;
  view.setUint32(0, 0x514649fb);
  view.setUint32(4, version);
  view.setUint32(20, parts.clusterBits ?? 16);
  view.setBigUint64(24, parts.size ?? 1n << 30n);
  view.setUint32(32, parts.encryption ?? 0);
  let at = 72;
  if (version === 3) {
    view.setBigUint64(72, parts.incompatible ?? 0n);
    view.setUint32(96, 4);
    view.setUint32(100, 112);
    at = 112;
  }
  for (const [type, text] of parts.extensions ?? []) {
    const data = new TextEncoder().encode(text);
    view.setUint32(at, type);
    view.setUint32(at + 4, data.length);
    bytes.set(data, at + 8);
    at += 8 + Math.ceil(data.length / 8) * 8;
  }
  at += 8;
  if (parts.backing !== undefined) {
    const name = new TextEncoder().encode(parts.backing);
    view.setBigUint64(8, BigInt(at));
    view.setUint32(16, name.length);
    bytes.set(name, at);
  }
  return bytes;
}

/** The same bytes with one big-endian number changed. */
function patch(bytes: Uint8Array, offset: number, value: number | bigint): Uint8Array {
  const copy = bytes.slice();
  const view = new DataView(copy.buffer);
  if (typeof value === "bigint") view.setBigUint64(offset, value);
  else view.setUint32(offset, value);
  return copy;
}

describe("a qcow2 header", () => {
  for (
    const [what, parts, wanted] of [
      ["size and version 3", {}, { version: 3, virtualSize: 1n << 30n, clusterBits: 16 }],
      ["version 2, which has no features", { version: 2 }, {
        version: 2,
        headerLength: 72,
        incompatible: [],
      }],
      ["no backing file", {}, { backingFile: null, backingFormat: null, dataFile: null }],
      ["a backing file and its format", {
        backing: "/srv/nfs/base.qcow2",
        extensions: [[BACKING_FORMAT, "qcow2"]],
      }, { backingFile: "/srv/nfs/base.qcow2", backingFormat: "qcow2" }],
      ["a backing file of version 2", {
        version: 2,
        backing: "base.raw",
        extensions: [[BACKING_FORMAT, "raw"]],
      }, { backingFile: "base.raw", backingFormat: "raw" }],
      ["a backing file without a format", { backing: "base" }, {
        backingFile: "base",
        backingFormat: null,
      }],
      ["the longest backing name, 1023 bytes", { backing: "b".repeat(1023) }, {
        backingFile: "b".repeat(1023),
      }],
      ["a name that begins with a byte order mark, as it is", { backing: "\ufeffbase" }, {
        backingFile: "\ufeffbase",
      }],
      ["an external data file", { incompatible: 4n, extensions: [[DATA_FILE, "d.raw"]] }, {
        externalData: true,
        dataFile: "d.raw",
        incompatible: ["external data file"],
      }],
      ["an external data file that has no name", { incompatible: 4n }, {
        externalData: true,
        dataFile: null,
      }],
      ["the name of a data file without the feature bit", { extensions: [[DATA_FILE, "d"]] }, {
        externalData: true,
        dataFile: "d",
      }],
      ["AES", { encryption: 1 }, { encryption: "aes" }],
      ["LUKS", { encryption: 2 }, { encryption: "luks" }],
      ["incompatible features by name", { incompatible: 0b11011n }, {
        incompatible: ["dirty", "corrupt", "compression type", "extended L2 entries"],
      }],
      ["incompatible features that nobody knows", { incompatible: 1n << 63n | 1n << 5n }, {
        incompatible: ["unknown bit 5", "unknown bit 63"],
      }],
      ["what stands after an extension it does not know", {
        extensions: [[0x6803f857, "x".repeat(48)], [BACKING_FORMAT, "raw"]],
      }, { backingFormat: "raw" }],
    ] as const satisfies readonly (readonly [string, Parts, object])[]
  ) {
    it(`tells ${what}`, () => {
      const header = parseQcow2(qcow2(parts), "a.qcow2");
      assert.deepEqual({ ...header, ...wanted }, header);
    });
  }

  const based = qcow2({ backing: "base", extensions: [[BACKING_FORMAT, "raw"]] });
  for (
    const [what, bytes, message] of [
      ["an empty file", new Uint8Array(0), /no magic, the file ends at byte 0/],
      ["a file that ends in its header", qcow2().subarray(0, 80), /the file ends/],
      ["another magic", patch(based, 0, 0x4b444d56), /magic 0x4b444d56/],
      ["version 1", patch(based, 4, 1), /version 1 at byte 4/],
      ["version 4", patch(based, 4, 4), /version 4/],
      ["clusters of 256 bytes", patch(based, 20, 8), /cluster bits 8/],
      ["clusters of 4 MiB", patch(based, 20, 22), /cluster bits 22/],
      ["2 ** 32 - 1 cluster bits", patch(based, 20, 0xffffffff), /cluster bits 4294967295/],
      ["a size that is negative to C", patch(based, 24, 1n << 63n), /virtual size/],
      ["an encryption it does not know", patch(based, 32, 3), /encryption method 3/],
      ["a header shorter than version 3's", patch(based, 100, 72), /header length 72/],
      ["a header longer than a cluster", patch(based, 100, 65537), /header length 65537/],
      ["a backing name inside the header", patch(based, 8, 8n), /backing file offset 8/],
      ["a backing name past the cluster", patch(based, 8, 65537n), /backing file offset 65537/],
      ["a backing name at 2 ** 64 - 1", patch(based, 8, 2n ** 64n - 1n), /backing file offset/],
      ["a backing name of 1024 bytes", patch(based, 16, 1024), /backing file size 1024/],
      ["a backing name that leaves the cluster", patch(based, 8, 65534n), /backing file size 4/],
      ["a NUL in the backing name", qcow2({ backing: "base\0.qcow2" }), /control characters/],
      ["an escape in the backing name", qcow2({ backing: "b\x1b[2J" }), /control characters/],
      ["a backing name that is no UTF-8", patch(based, 136, 0xff000000), /UTF-8/],
      ["an extension longer than its room", patch(based, 116, 0x7fffffff), /extension length/],
      [
        "an unknown extension that leaves the cluster",
        patch(patch(based, 112, 1), 116, 65536),
        /65536/,
      ],
      [
        "a format name that runs into the backing name",
        patch(based, 8, 122n),
        /length 3 at byte 116/,
      ],
      ["an extension cut short", patch(based, 8, 116n), /cut short/],
      [
        "a format name of 16 bytes",
        qcow2({ extensions: [[BACKING_FORMAT, "q".repeat(16)]] }),
        /16/,
      ],
      [
        "two backing formats",
        qcow2({ extensions: [[BACKING_FORMAT, "raw"], [BACKING_FORMAT, "qcow2"]] }),
        /second extension 0xe2792aca/,
      ],
    ] as const
  ) {
    it(`refuses ${what}`, () => {
      assert.throws(() => parseQcow2(bytes, "a.qcow2"), (error) => {
        assert(error instanceof ImageError, String(error));
        assert.equal(error.code, "bad-header");
        assert.match(error.message, message);
        return true;
      });
    });
  }

  it("is never believed: whatever a guest writes there, the answer is a header or ImageError", () => {
    const change = fc.oneof(
      fc.tuple(fc.nat(160), fc.nat(0xffffffff)),
      fc.tuple(fc.nat(160), fc.bigInt(0n, 2n ** 64n - 1n)),
      fc.tuple(fc.constantFrom(4, 16, 20, 32, 100, 112, 116), fc.nat(2048)),
      fc.tuple(fc.constantFrom(8, 24, 72), fc.bigInt(0n, 70000n)),
    );
    fc.assert(
      fc.property(fc.array(change, { maxLength: 4 }), fc.nat(65536), (changes, end) => {
        const bytes = changes.reduce((b, [offset, value]) => patch(b, offset, value), based);
        try {
          const header = parseQcow2(bytes.subarray(0, end), "a.qcow2");
          assert((header.backingFile?.length ?? 0) <= 1023);
          assert(header.headerLength <= 65536);
        } catch (error) {
          if (!(error instanceof ImageError)) throw error;
        }
      }),
      { numRuns: 2000 },
    );
  });

  it("is never read past its end: bytes behind the cluster make no difference", () => {
    const around = new Uint8Array(based.length + 4096).fill(0x41);
    around.set(based, 2048);
    const inside = around.subarray(2048, 2048 + based.length);
    assert.deepEqual(parseQcow2(inside, "a"), parseQcow2(based, "a"));
  });
});

const noQemuImg = spawnSync("qemu-img", ["--version"]).error;

describe("readHeader", { skip: noQemuImg === undefined ? false : "qemu-img is missing" }, () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "header-"));
    writeFileSync(join(folder, "base.raw"), new Uint8Array(1 << 20));
  });
  after(() => rmSync(folder, { recursive: true }));

  function create(name: string, ...args: readonly string[]): Header {
    const [options, size] = [args.slice(0, -1), args.slice(-1)];
    const command = ["create", "-q", "-f", "qcow2", ...options, name, ...size].filter(Boolean);
    for (let attempt = 1;; attempt++) {
      try {
        execFileSync("qemu-img", command, { cwd: folder, stdio: "pipe" });
        return read(name, "qcow2");
      } catch (error) {
        // qemu-img times its key derivation, and gives up where the clock shows none passed.
        const isClock = String(error).includes("Unable to get accurate CPU usage");
        if (!isClock || attempt === 10) throw error;
      }
    }
  }
  function read(name: string, format: "qcow2" | "raw"): Header {
    const path = join(folder, name);
    const how = { flags: constants.O_RDONLY, resolve: 0n };
    using fd = new OwnedFd(openat2(AT_FDCWD, path, how), path);
    return readHeader(fd, format);
  }

  for (
    const [what, args, wanted] of [
      ["-o compat=1.1", ["-o", "compat=1.1", "5G"], { version: 3, virtualSize: 5n << 30n }],
      ["-o compat=0.10", ["-o", "compat=0.10", "5G"], { version: 2, virtualSize: 5n << 30n }],
      ["512-byte clusters", ["-o", "cluster_size=512", "1M"], { clusterBits: 9 }],
      ["2 MiB clusters", ["-o", "cluster_size=2M", "1M"], { clusterBits: 21 }],
      ["-b base.raw -F raw", ["-b", "base.raw", "-F", "raw", ""], {
        backingFile: "base.raw",
        backingFormat: "raw",
        virtualSize: 1n << 20n,
      }],
      ["-b with compat=0.10", ["-o", "compat=0.10", "-b", "base.raw", "-F", "raw", ""], {
        backingFile: "base.raw",
        backingFormat: "raw",
      }],
      ["data_file", ["-o", "data_file=data.raw", "1M"], {
        externalData: true,
        dataFile: "data.raw",
        incompatible: ["external data file"],
      }],
      ["extended_l2", ["-o", "extended_l2=on", "1M"], { incompatible: ["extended L2 entries"] }],
      ["LUKS", [
        "--object",
        "secret,id=s,data=x",
        "-o",
        "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10",
        "1M",
      ], { encryption: "luks" }],
    ] as const
  ) {
    // LUKS measures the processor, however short it is told to: on a busy one that takes a while.
    it(`agrees with qemu-img create ${what}`, { timeout: 60_000 }, () => {
      const header = create(`${what.replaceAll(/\W/g, "_")}.qcow2`, ...args);
      assert.deepEqual({ ...header, ...wanted }, header);
    });
  }

  it("takes a raw image for what the guest file says, whatever stands in it", () => {
    create("guest-wrote-this.qcow2", "1M");
    const header = read("guest-wrote-this.qcow2", "raw");
    assert.equal(header.format, "raw");
    assert.equal(header.backingFile, null);
    assert.equal(read("base.raw", "raw").virtualSize, 1n << 20n);
  });

  it("refuses a raw image that is given as qcow2", () => {
    assert.throws(() => read("base.raw", "qcow2"), { code: "bad-header" });
  });
});
