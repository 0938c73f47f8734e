import { goldenFile } from "../fakes/golden.ts";
import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { constants, readFileSync } from "node:fs";
import { AT_FDCWD, openat2 } from "../../ffi/libc.ts";
import type { Guest, Image } from "../../agent/guest.ts";
import { chainsOf, layersOf } from "../../agent/image/layer.ts";
import type { OpenImage } from "../../agent/image/open.ts";
import { OwnedFd } from "../../agent/owned_fd.ts";
import { coldArguments, inheritedArguments, inheritedOf } from "../../agent/qmp/cold.ts";
import { inheritedFd } from "../../agent/qmp/fdset.ts";
import type { Qemu } from "../../agent/process/qemu.ts";
import { imageGraph } from "../../agent/qmp/graph.ts";
import { opaqueText, type Passed, passImage } from "../../agent/qmp/pass.ts";
import { type Monitor, MonitorError } from "../../agent/qmp/monitor.ts";

const CODE: Image = {
  name: "code",
  path: "/srv/code,4M.fd",
  format: "raw",
  access: "ro",
  cache: "none",
  device: "pflash",
  shared: true,
  transient: false,
  backing: [],
};
const VARS: Image = {
  ...CODE,
  name: "vars",
  path: "/srv/web1-vars.qcow2",
  format: "qcow2",
  access: "rw",
  shared: false,
  backing: [{ path: "/srv/vars.raw", format: "raw", shared: true }],
};
const CD: Image = { ...CODE, name: "cd", path: "/srv/setup.iso", device: "ide-cd" };
const DISK: Image = { ...CODE, name: "data", path: "/srv/data.raw", device: "virtio-blk-pci" };

function guest(...images: Image[]): Guest {
  const qemu = { binary: "q", args: ["-machine", "q35"], user: "u", accelerator: "tcg" } as const;
  return { name: "web1", qemu, images, file: "web1.toml" };
}

/** Opened images; the numbers stand for descriptors that nobody uses. */
function opened(it: Guest): OpenImage[] {
  return layersOf(it).map((layer, i) => {
    const ro = new OwnedFd(100 + i, layer.path);
    const rw = layer.access === "rw" ? new OwnedFd(200 + i, layer.path) : undefined;
    return { layer, ro, rw } as OpenImage;
  });
}

describe("images that are there when QEMU starts", () => {
  const it_ = guest(DISK, CODE, VARS, CD);

  it("have their nodes, flash chips and drives on the command line: test/golden/cold.json", () => {
    const url = goldenFile("cold");
    assert.deepEqual(coldArguments(it_), JSON.parse(readFileSync(url, "utf8")));
  });

  it("name no file but fdsets", () => {
    assert.doesNotMatch(coldArguments(it_).join(" "), /\/srv\//);
  });

  it("are not added again over the monitor", () => {
    const [disk, ...cold] = chainsOf(it_).map((layers) => imageGraph(layers, it_));
    assert.equal(disk!.length, 3);
    assert.deepEqual(cold, [[], [], []]);
  });

  it("are inherited, each mode in its fdset, with the text that query-fdsets shows", () => {
    const inherited = inheritedOf(opened(it_));
    assert.deepEqual(inherited.map(({ fd, fdset }) => [fd.number, fdset]), [
      [101, 2],
      [102, 3],
      [202, 3],
      [103, 4],
      [104, 5],
    ]);
    assert.deepEqual(inheritedArguments(inherited.slice(0, 3), 3), [
      // QEMU takes a comma for the end of a value unless it is doubled.
      ...["-add-fd", "fd=3,set=2,opaque=svirt-agent ro code /srv/code,,4M.fd"],
      ...["-add-fd", "fd=4,set=3,opaque=svirt-agent ro vars /srv/web1-vars.qcow2"],
      ...["-add-fd", "fd=5,set=3,opaque=svirt-agent rw vars /srv/web1-vars.qcow2"],
    ]);
  });

  it("cost nothing where there are none", () => {
    assert.deepEqual(coldArguments(guest(DISK)), []);
    assert.deepEqual(inheritedOf(opened(guest(DISK))), []);
  });
});

describe("inheritedFd", () => {
  const monitor = {
    path: "monitor",
    execute: () =>
      Promise.resolve([
        { "fdset-id": 1, fds: [{ fd: 9, opaque: "a ro" }] },
        { "fdset-id": 2, fds: [{ fd: 10, opaque: "b ro" }, { fd: 11, opaque: "b rw" }] },
      ]),
  } as unknown as Monitor;

  it("finds the descriptor by fdset and text", async () => {
    assert.deepEqual(await inheritedFd(monitor, 2, "b rw"), { fdset: 2, number: 11 });
  });

  it("refuses a QEMU that does not have it, or has it in another set", async () => {
    await assert.rejects(inheritedFd(monitor, 1, "b rw"), MonitorError);
    await assert.rejects(inheritedFd(monitor, 3, "a ro"), MonitorError);
  });
});

describe("passImage of an image that QEMU inherited", () => {
  /** This process stands for QEMU. */
  async function passed(held: string, inherited = true): Promise<unknown> {
    const open = (path: string) =>
      new OwnedFd(openat2(AT_FDCWD, path, { flags: constants.O_RDONLY, resolve: 0n }), path);
    using ro = open(import.meta.filename!);
    using inQemu = open(held);
    const layer = layersOf(guest(CODE))[0]!;
    const fds = [{ fd: inQemu.number, opaque: opaqueText("ro", layer) }];
    const execute = (command: string) => {
      if (!inherited) {
        assert.equal(command, "add-fd");
        return Promise.resolve({ "fdset-id": layer.fdset, fd: inQemu.number });
      }
      assert.equal(command, "query-fdsets");
      return Promise.resolve([{ "fdset-id": layer.fdset, fds }]);
    };
    const qemu = { monitor: { path: "monitor", execute }, process: { pid: process.pid } };
    const image = { layer, ro, rw: undefined, identity: ro.identity };
    return await passImage(
      qemu as unknown as Qemu,
      image as unknown as OpenImage,
      () => [],
      inherited,
    );
  }

  it("passes nothing, and takes the descriptor that it holds", async () => {
    const { ro, rw } = await passed(import.meta.filename!) as Passed;
    assert.equal(ro.fdset, 1);
    assert.equal(rw, undefined);
  });

  it("passes an overlay that is put on it later, as any other", async () => {
    const { ro } = await passed(import.meta.filename!, false) as Passed;
    assert.equal(ro.fdset, 1);
  });

  it("refuses what the kernel puts in the place of a descriptor that SELinux denies", async () => {
    await assert.rejects(passed("/dev/null"), /where pid \d+ holds .* instead of .* ro/);
  });
});
