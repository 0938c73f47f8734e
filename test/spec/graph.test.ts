import { goldenFile } from "../fakes/golden.ts";
import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import type { Guest, Image } from "../../agent/guest.ts";
import { chainsOf } from "../../agent/image/layer.ts";
import { imageGraph, type QmpCommand, runAll } from "../../agent/qmp/graph.ts";
import type { Monitor } from "../../agent/qmp/monitor.ts";

const RAW: Image = {
  name: "data",
  path: "/srv/data.raw",
  format: "raw",
  access: "rw",
  cache: "writeback",
  device: "virtio-blk-pci",
  shared: false,
  transient: false,
  backing: [],
};
const QCOW2: Image = {
  ...RAW,
  name: "root",
  path: "/srv/root.qcow2",
  format: "qcow2",
  cache: "none",
  backing: [
    { path: "/srv/frozen.qcow2", format: "qcow2", shared: false },
    { path: "/srv/base.raw", format: "raw", shared: true },
  ],
};

function guest(images: readonly Image[], machine = "pc"): Guest {
  const args = ["-machine", machine];
  const qemu = { binary: "qemu-system-x86_64", args, user: "qemu", accelerator: "tcg" } as const;
  return { name: "web1", qemu, images, file: "web1.toml" };
}

function graph(...all: Parameters<typeof guest>): QmpCommand[] {
  const it = guest(...all);
  return chainsOf(it).flatMap((layers) => imageGraph(layers, it));
}

/** What goes over the wire, checked by hand against QAPI BlockdevOptions. */
function golden(name: string): unknown {
  return JSON.parse(readFileSync(goldenFile(`graph_${name}`), "utf8"));
}

describe("imageGraph", () => {
  // deno-fmt-ignore
  const CASES: readonly (readonly [what: string, golden: string, ...Parameters<typeof guest>])[] = [
    ["a raw image",                                   "raw",           [RAW]],
    ["a raw image that is only read",                 "raw_ro",        [{ ...RAW, access: "ro" }]],
    ["a raw image that is written through",           "writethrough",  [{ ...RAW, cache: "writethrough" }]],
    ["a device that is no virtio",                    "nvme",          [{ ...RAW, device: "nvme" }]],
    ["a qcow2 image over two backing files, O_DIRECT", "qcow2_chain",  [QCOW2]],
    ["a qcow2 image with nothing below",              "qcow2_alone",   [{ ...QCOW2, backing: [] }]],
    ["a transient image: its overlay gets the device", "transient",   [{ ...RAW, transient: true }]],
    ["two images on a PCI Express machine",           "q35",           [QCOW2, RAW], "q35"],
  ];
  for (const [what, file, ...it_] of CASES) {
    it(`of ${what} is test/golden/graph_${file}.json`, () => {
      assert.deepEqual(JSON.parse(JSON.stringify(graph(...it_))), golden(file));
    });
  }

  const every = CASES.flatMap(([, , ...it]) => graph(...it));
  const nodes = every.filter(({ execute }) => execute === "blockdev-add");

  it("names no file but fdsets", () => {
    const text = JSON.stringify(every);
    assert.doesNotMatch(text, /\/srv\//);
    assert(
      nodes.every(({ arguments: { driver, filename } }) =>
        driver === "file" ? /^\/dev\/fdset\/\d+$/.test(String(filename)) : filename === undefined
      ),
    );
  });

  it("never leaves QEMU to probe a format or to believe a header's backing file", () => {
    for (const { arguments: { driver, backing } } of nodes) {
      assert(["file", "raw", "qcow2"].includes(String(driver)));
      if (driver === "qcow2") assert(backing === null || typeof backing === "string");
    }
  });

  it("never lets QEMU take locks, which the agent holds", () => {
    const files = nodes.filter(({ arguments: { driver } }) => driver === "file");
    assert(files.every(({ arguments: { locking } }) => locking === "off"));
  });

  it("adds each node before what refers to it", () => {
    for (const [, , ...it] of CASES) {
      const known = new Set<unknown>();
      for (const { arguments: args } of graph(...it)) {
        for (const used of [args["file"], args["backing"], args["drive"]]) {
          if (typeof used === "string") assert(known.has(used), used);
        }
        known.add(args["node-name"]);
      }
    }
  });
});

describe("runAll", () => {
  it("waits for each command before the next, and stops at the first that fails", async () => {
    const log: string[] = [];
    const monitor = {
      async execute(command: string) {
        log.push(`${command} begins`);
        await new Promise((resolve) => setTimeout(resolve, 2));
        if (command === "b") throw new Error("no");
        log.push(`${command} ends`);
      },
    } as unknown as Monitor;
    const commands = ["a", "b", "c"].map((execute) => ({ execute, arguments: {} }));
    await assert.rejects(runAll(monitor, commands), { message: "no" });
    assert.deepEqual(log, ["a begins", "a ends", "b begins"]);
  });
});
