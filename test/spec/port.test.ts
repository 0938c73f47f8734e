import { describe, it } from "node:test";
import assert from "node:assert/strict";
import type { Guest, Image } from "../../agent/guest.ts";
import { MOST_PCI } from "../../agent/image/device.ts";
import { busOf, portArguments, portOf } from "../../agent/qmp/port.ts";

function image(name: string, device = "virtio-blk-pci"): Image {
  const path = `/srv/${name}.raw`;
  const read = { format: "raw", access: "rw", cache: "none", shared: false } as const;
  return { ...read, name, path, device, transient: false, backing: [] };
}

function guest(args: readonly string[], images: readonly Image[] = [image("root")]): Guest {
  const qemu = { binary: "qemu-system-x86_64", args, user: "qemu", accelerator: "tcg" } as const;
  return { name: "web1", qemu, images, file: "web1.toml" };
}

describe("portOf", () => {
  // deno-fmt-ignore
  const CASES: readonly (readonly [args: readonly string[], device: string, port: string | null])[] = [
    [["-machine", "q35"],                  "virtio-blk-pci", "root-port"],
    [["-M", "q35"],                        "virtio-blk-pci", "root-port"],
    [["--machine", "q35"],                 "nvme",           "root-port"],
    [["-machine", "pc-q35-7.2"],           "virtio-blk-pci", "root-port"],
    [["-machine", "q35,accel=kvm"],        "virtio-blk-pci", "root-port"],
    [["-machine", "accel=kvm,type=q35"],   "virtio-blk-pci", "root-port"],
    [["-m", "512", "-machine", "virt"],    "virtio-blk-pci", "root-port"],
    [["-machine", "virt-9.0"],             "virtio-blk-pci", "root-port"],
    [["-machine", "pc"],                   "virtio-blk-pci", null],
    [["-machine", "pc-i440fx-7.2"],        "virtio-blk-pci", null],
    [["-machine", "none"],                 "virtio-blk-pci", null],
    [["-machine", "microvm"],              "virtio-blk-pci", null],
    [["-machine", "q35"],                  "virtio-blk-device", null],
    [["-machine", "q35"],                  "scsi-hd",        null],
    [["-name", "q35"],                     "virtio-blk-pci", null],
    [[],                                   "virtio-blk-pci", null],
    [["-machine"],                         "virtio-blk-pci", null],
  ];
  for (const [args, device, port] of CASES) {
    it(`of ${device} with "${args.join(" ")}" is ${port}`, () => {
      assert.equal(portOf(image("root", device), guest(args)), port);
    });
  }
});

describe("portArguments", () => {
  it("gives each PCI device of a PCI Express machine a root port and a chassis of its own", () => {
    const images = [image("root"), image("data", "scsi-hd"), image("swap", "nvme")];
    assert.deepEqual(portArguments(guest(["-machine", "q35"], images)), [
      ...["-device", "pcie-root-port,id=root-port,chassis=128,addr=0x10.0,multifunction=on"],
      ...["-device", "pcie-root-port,id=swap-port,chassis=129,addr=0x10.1"],
      ...["-device", "virtio-scsi-pci,id=svirt-agent-scsi"],
    ]);
  });

  it("puts eight ports into a slot, so that the most images there may be have room", () => {
    const images = Array.from({ length: MOST_PCI }, (_, i) => image(`disk${i}`));
    const ports = portArguments(guest(["-machine", "q35"], images)).filter((it) =>
      it !== "-device"
    );
    const addresses = ports.map((port) => /addr=(0x1[0-9a-c]\.[0-7])(,|$)/.exec(port)?.[1]);
    assert.equal(new Set(addresses).size, MOST_PCI);
    assert.ok(!addresses.includes(undefined));
    // Without its first function nobody looks at the others of a slot.
    for (const port of ports) assert.equal(port.includes(".0,multifunction=on"), /\.0/.test(port));
    const chassis = ports.map((port) => Number(/chassis=(\d+)/.exec(port)![1]));
    assert.equal(new Set(chassis).size, MOST_PCI);
    assert.ok(Math.max(...chassis) <= 255, "one byte");
  });

  it("gives none to devices that are there from the start", () => {
    const images = [image("code", "pflash"), image("cd", "ide-cd")];
    assert.deepEqual(portArguments(guest(["-machine", "q35"], images)), []);
  });

  it("gives none where devices go into the root", () => {
    assert.deepEqual(portArguments(guest(["-machine", "pc"])), []);
  });
});

describe("busOf", () => {
  it("of a SCSI disk is the agent's own controller", () => {
    const it = image("data", "scsi-hd");
    assert.equal(busOf(it, guest(["-machine", "q35"], [it])), "svirt-agent-scsi.0");
  });

  for (
    const own of ["virtio-scsi-pci,id=mine", "megasas", '{"driver": "virtio-scsi-pci"}']
  ) {
    it(`is left to QEMU where the guest file has a controller: ${own}`, () => {
      const args = ["-machine", "q35", "-device", own], it = image("cd", "scsi-cd");
      assert.equal(busOf(it, guest(args, [it])), null);
      assert.deepEqual(portArguments(guest(args, [it])), []);
    });
  }
});
