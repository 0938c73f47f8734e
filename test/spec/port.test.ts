import { describe, it } from "node:test";
import assert from "node:assert/strict";
import type { Guest, Image } from "../../agent/guest.ts";
import { portArguments, portOf } from "../../agent/qmp/port.ts";

function image(name: string, device = "virtio-blk-pci"): Image {
  const path = `/srv/${name}.raw`;
  return { name, path, format: "raw", access: "rw", cache: "none", device, backing: [] };
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
      ...["-device", "pcie-root-port,id=root-port,chassis=128"],
      ...["-device", "pcie-root-port,id=swap-port,chassis=130"],
    ]);
  });

  it("gives none where devices go into the root", () => {
    assert.deepEqual(portArguments(guest(["-machine", "pc"])), []);
  });
});
