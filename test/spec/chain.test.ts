import { after, before, describe, it } from "node:test";
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { parse } from "smol-toml";
import type { Format, Image } from "../../agent/guest.ts";
import {
  adoptText,
  backingPath,
  type ChainOptions,
  type ChainReport,
  compareChain,
  readChain,
} from "../../agent/image/chain.ts";
import { Folder } from "../../agent/image/folder.ts";
import { type Header, parseQcow2 } from "../../agent/image/header.ts";
import { qcow2 } from "../fakes/qcow2.ts";

const skip = process.getuid?.() === 0 ? false : "needs root: allowed folders belong to root";

describe("readChain", { skip }, () => {
  let top: string;
  let folder: Folder;
  const at = (name: string) => join(top, "images", name);
  const put = (name: string, bytes: Uint8Array) => writeFileSync(at(name), bytes);
  const read = (name: string, format: Format = "qcow2", options?: ChainOptions) =>
    readChain([folder], at(name), format, options);
  const names = ({ chain }: ChainReport) =>
    chain.map(({ path, format }) => `${path.slice(at("/").length)} ${format}`);

  before(() => {
    top = realpathSync(mkdtempSync(join(tmpdir(), "chain-")));
    mkdirSync(at("bases"), { recursive: true });
    writeFileSync(join(top, "secret"), "secret");
    put("bases/base.raw", new Uint8Array(1 << 20));
    put("bases/mid.qcow2", qcow2("base.raw", "raw"));
    put("bases/base.qcow2", qcow2());
    symlinkSync("../secret", at("link"));
    folder = Folder.open(join(top, "images"));
  });
  after(() => {
    folder?.[Symbol.dispose]();
    rmSync(top, { recursive: true });
  });

  it("follows names relative to the file that holds them, down to the end", () => {
    put("web1.qcow2", qcow2("bases/mid.qcow2", "qcow2"));
    assert.deepEqual(read("web1.qcow2"), {
      schemaVersion: 1,
      chain: [
        {
          path: at("web1.qcow2"),
          format: "qcow2",
          virtualSize: 4096,
          backing: at("bases/mid.qcow2"),
          dataFile: null,
        },
        {
          path: at("bases/mid.qcow2"),
          format: "qcow2",
          virtualSize: 4096,
          backing: at("bases/base.raw"),
          dataFile: null,
        },
        {
          path: at("bases/base.raw"),
          format: "raw",
          virtualSize: 1 << 20,
          backing: null,
          dataFile: null,
        },
      ],
      problems: [],
    });
  });

  it("never looks whether a raw image holds a qcow2 header", () => {
    put("guest.raw", qcow2(join(top, "secret"), "raw"));
    const { chain, problems } = read("guest.raw", "raw");
    assert.deepEqual(chain.map(({ backing }) => backing), [null]);
    assert.deepEqual(problems, []);
  });

  it("stops where a header does not name the format of its backing file", () => {
    put("unclear.qcow2", qcow2("bases/base.qcow2"));
    const report = read("unclear.qcow2");
    assert.deepEqual(names(report), ["unclear.qcow2 qcow2", "bases/base.qcow2 null"]);
    assert.match(report.problems[0]!, /--backing-format.*qemu-img rebase -u/);
  });

  it("goes on there with a format that is given", () => {
    const report = read("unclear.qcow2", "qcow2", { backingFormat: "qcow2" });
    assert.deepEqual(names(report), ["unclear.qcow2 qcow2", "bases/base.qcow2 qcow2"]);
    assert.deepEqual(report.problems, []);
  });

  it("stops at a chain that goes round", () => {
    put("a.qcow2", qcow2("b.qcow2", "qcow2"));
    put("b.qcow2", qcow2("a.qcow2", "qcow2"));
    const report = read("a.qcow2");
    assert.deepEqual(names(report), ["a.qcow2 qcow2", "b.qcow2 qcow2", "a.qcow2 qcow2"]);
    assert.match(report.problems[0]!, /its own backing file/);
  });

  it("stops after 64 files", () => {
    for (let i = 0; i < 70; i++) put(`deep${i}.qcow2`, qcow2(`deep${i + 1}.qcow2`, "qcow2"));
    const report = read("deep0.qcow2");
    assert.equal(report.chain.length, 65);
    assert.equal(report.chain[64]!.virtualSize, null);
    assert.match(report.problems[0]!, /64 files deep/);
  });

  for (
    const [what, backing, format, problem] of [
      ["json:", 'json:{"driver":"file","filename":"/etc/shadow"}', "raw", /is no path/],
      ["nbd://", "nbd://10.0.0.1/disk", "raw", /is no path/],
      ["file:", "file:/etc/shadow", "raw", /is no path/],
      ["/dev/fdset/", "/dev/fdset/3", "qcow2", /is no path.*rebase -u -b PATH/],
      ["/proc/self/fd/", "/proc/self/fd/3", "qcow2", /is no path/],
      ["a path outside the folders", "/etc/shadow", "raw", /in no allowed folder/],
      ["a way out of the folder", "../secret", "raw", /in no allowed folder/],
      ["a symbolic link", "link", "raw", /ELOOP.*symbolic link/],
      ["a file that is not there", "missing.raw", "raw", /ENOENT/],
      ["a folder", "bases", "raw", /is a folder/],
      ["a format that is not passed", "bases/base.raw", "vmdk", /format "vmdk"/],
      ["a raw file called qcow2", "bases/base.raw", "qcow2", /bad qcow2 header/],
    ] as const
  ) {
    it(`shows and does not follow ${what} as a backing file`, () => {
      put("hostile.qcow2", qcow2(backing, format));
      const report = read("hostile.qcow2");
      assert.equal(report.chain.length, 2);
      assert.equal(report.chain[1]!.virtualSize, null);
      assert.match(report.problems.join("\n"), problem);
    });
  }

  it("names an external data file as a problem", () => {
    put("data.qcow2", qcow2(undefined, undefined, { data: "data.raw" }));
    const report = read("data.qcow2");
    assert.equal(report.chain[0]!.dataFile, "data.raw");
    assert.match(report.problems[0]!, /keeps its data in another file \(data.raw\)/);
  });

  it("writes a size beyond 2 ** 53 as a string", () => {
    put("huge.qcow2", qcow2(undefined, undefined, { size: (1n << 62n) + 1n }));
    assert.equal(read("huge.qcow2").chain[0]!.virtualSize, "4611686018427387905");
  });

  it("throws where the first file cannot be opened: there is nothing to report", () => {
    assert.throws(() => read("missing.qcow2"), { code: "ENOENT" });
  });

  it("reports a bad header of the first file", () => {
    const report = read("bases/base.raw", "qcow2");
    assert.deepEqual(names(report), ["bases/base.raw qcow2"]);
    assert.match(report.problems[0]!, /bad qcow2 header/);
  });

  describe("adoptText", () => {
    it("is TOML that pins what was read, shared with nobody", () => {
      put('quo"te\\.raw', new Uint8Array(512));
      put("odd.qcow2", qcow2('quo"te\\.raw', "raw"));
      put("top.qcow2", qcow2("odd.qcow2", "qcow2"));
      assert.deepEqual(structuredClone(parse(adoptText(read("top.qcow2")))), {
        backing: [
          { path: at("odd.qcow2"), format: "qcow2", shared: false },
          { path: at('quo"te\\.raw'), format: "raw", shared: false },
        ],
      });
    });

    it("is an empty list for an image without a backing file", () => {
      assert.equal(adoptText(read("bases/base.qcow2")), "backing = []\n");
    });

    it("refuses a chain with a problem", () => {
      assert.throws(() => adoptText(read("unclear.qcow2")), { code: "chain-unclear" });
    });
  });
});

describe("backingPath", () => {
  for (
    const [name, path] of [
      ["base.qcow2", "/srv/nfs/base.qcow2"],
      ["./sub/base.qcow2", "/srv/nfs/sub/base.qcow2"],
      ["../base.qcow2", "/srv/base.qcow2"],
      ["/other//base.qcow2", "/other/base.qcow2"],
      ["./time:12:00.qcow2", "/srv/nfs/time:12:00.qcow2"],
      ["nbd:host:10809", "nbd:host:10809"],
      ["/dev/fdset/7", "/dev/fdset/7"],
    ] as const
  ) {
    it(`takes "${name}" in /srv/nfs/web1.qcow2 for ${path}`, () => {
      assert.equal(backingPath("/srv/nfs/web1.qcow2", name), path);
    });
  }
});

describe("compareChain", () => {
  const web1: Image = {
    name: "root",
    path: "/srv/nfs/web1.qcow2",
    format: "qcow2",
    access: "rw",
    cache: "none",
    device: "virtio-blk-pci",
    shared: false,
    transient: false,
    backing: [
      { path: "/srv/nfs/mid.qcow2", format: "qcow2", shared: false },
      { path: "/srv/nfs/base.raw", format: "raw", shared: true },
    ],
  };
  const header = (...args: Parameters<typeof qcow2>) => parseQcow2(qcow2(...args), "a");
  const raw: Header = {
    format: "raw",
    virtualSize: 4096n,
    backingFile: null,
    backingFormat: null,
    externalData: false,
    dataFile: null,
    encryption: "none",
    incompatible: [],
    headerLength: 0,
  };
  const top = header("mid.qcow2", "qcow2");
  const mid = header("base.raw", "raw");

  for (
    const [what, headers, wanted] of [
      ["nothing where they agree", [top, mid, raw], []],
      ["nothing where a header names no format", [header("/srv/nfs/mid.qcow2"), mid, raw], []],
      ["another backing file", [header("/etc/shadow", "qcow2"), mid, raw], [
        ["web1.qcow2", "backing", "/srv/nfs/mid.qcow2", "/etc/shadow"],
      ]],
      ["a descriptor set that qemu wrote into the header", [
        header("/dev/fdset/3", "qcow2"),
        mid,
        raw,
      ], [["web1.qcow2", "backing", "/srv/nfs/mid.qcow2", "/dev/fdset/3"]]],
      ["a backing file that is gone from the header", [top, header(), raw], [
        ["mid.qcow2", "backing", "/srv/nfs/base.raw", null],
      ]],
      ["another backing format", [top, header("base.raw", "qcow2"), raw], [
        ["mid.qcow2", "backing-format", "raw", "qcow2"],
      ]],
      ["an external data file, always", [
        header("mid.qcow2", "qcow2", { data: "/etc/shadow" }),
        mid,
        raw,
      ], [["web1.qcow2", "data-file", null, "/etc/shadow"]]],
      ["encryption", [{ ...top, encryption: "luks" }, mid, raw], [
        ["web1.qcow2", "encryption", null, "luks"],
      ]],
      ["features that nobody knows", [
        { ...top, incompatible: ["dirty", "unknown bit 9"] },
        mid,
        raw,
      ], [
        ["web1.qcow2", "feature", null, "unknown bit 9"],
      ]],
      ["a header read as another format", [top, raw, raw], [
        ["mid.qcow2", "format", "qcow2", "raw"],
      ]],
    ] as const
  ) {
    it(`finds ${what}`, () => {
      assert.deepEqual(
        compareChain(web1, headers),
        wanted.map(([file, what, pinned, header]) => ({
          path: `/srv/nfs/${file}`,
          what,
          pinned,
          header,
        })),
      );
    });
  }

  it("finds a backing file below an image that is pinned without one", () => {
    assert.deepEqual(compareChain({ ...web1, backing: [] }, [top]), [{
      path: "/srv/nfs/web1.qcow2",
      what: "backing",
      pinned: null,
      header: "/srv/nfs/mid.qcow2",
    }]);
  });

  it("will not compare when a header is missing", () => {
    assert.throws(() => compareChain(web1, [top, mid]), RangeError);
  });
});
