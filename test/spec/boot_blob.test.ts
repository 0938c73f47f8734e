import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { zstdCompressSync } from "node:zlib";
import { bootBlob } from "../lab/booted/blob.ts";

const ADDRESS = 0x1000000;
const ENTRY = 0x1000b20;
const PAGE = 4096;

interface Kernel {
  /** Of the note that names the entry. */
  readonly noteType?: number;
  readonly magic?: number;
}

/** A bzImage as far as it is read: code of five bytes and zeros behind it, and one note. */
function vmlinuz({ noteType = 18, magic }: Kernel = {}): Uint8Array {
  const elf = new Uint8Array(0x300);
  const view = new DataView(elf.buffer);
  view.setBigUint64(0x20, 0x40n, true);
  view.setUint16(0x36, 56, true);
  view.setUint16(0x38, 2, true);
  const header = (at: number, type: number, offset: number, physical: number, length: number) => {
    view.setUint32(at, type, true);
    view.setBigUint64(at + 8, BigInt(offset), true);
    view.setBigUint64(at + 24, BigInt(physical), true);
    view.setBigUint64(at + 32, BigInt(length), true);
  };
  header(0x40, 1, 0x200, ADDRESS, 0x80);
  header(0x78, 4, 0x100, 0, 0x40);
  elf.set(new TextEncoder().encode("kernel"), 0x200);
  // Another note comes first, with a name and a value that are filled up to words.
  view.setUint32(0x100, 6, true);
  view.setUint32(0x104, 2, true);
  const second = 0x100 + 12 + 8 + 4;
  view.setUint32(second, 4, true);
  view.setUint32(second + 4, 8, true);
  view.setUint32(second + 8, noteType, true);
  view.setUint32(second + 16, ENTRY, true);

  const packed = zstdCompressSync(elf);
  const setup = 2 * 512;
  const image = new Uint8Array(setup + 16 + packed.length + 4);
  const fields = new DataView(image.buffer);
  fields.setUint8(0x1f1, 1);
  fields.setUint32(0x248, 16, true);
  fields.setUint32(0x24c, packed.length + 4, true);
  image.set(packed, setup + 16);
  if (magic !== undefined) fields.setUint32(setup + 16, magic, true);
  return image;
}

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

describe("bootBlob", () => {
  const initrd = new TextEncoder().encode("initrd".repeat(1000));
  const blob = bootBlob(vmlinuz(), initrd, "console=ttyS0", 128 << 20);
  const view = new DataView(blob.bytes.buffer);
  /** Where an address in memory is in the blob. */
  const at = (address: bigint) => Number(address) - blob.load;

  it("puts the kernel where it has to lie, and one page and the initrd before it", () => {
    assert.equal(blob.load, ADDRESS - 2 * PAGE - PAGE);
    assert.equal(text(blob.bytes.subarray(ADDRESS - blob.load)), "kernel");
    assert.equal(blob.entry, ENTRY);
  });

  it("begins with what a PVH kernel is told: initrd, command line, memory", () => {
    assert.equal(view.getUint32(0, true), 0x336ec578);
    const module = at(view.getBigUint64(16, true));
    const [address, size] = [0, 8].map((it) => view.getBigUint64(module + it, true));
    assert.equal(text(blob.bytes.subarray(at(address!), at(address! + size!))), text(initrd));
    const line = at(view.getBigUint64(24, true));
    assert.equal(text(blob.bytes.subarray(line, line + 14)), "console=ttyS0\0");
    assert.equal(view.getBigUint64(32, true), 0n);
    const map = at(view.getBigUint64(40, true));
    assert.equal(view.getUint32(48, true), 2);
    const last = [24, 32].map((it) => Number(view.getBigUint64(map + it, true)));
    assert.equal(last[0]! + last[1]!, 127 << 20);
  });

  it("refuses a kernel that it cannot unpack or enter, and a command line beyond its page", () => {
    assert.throws(() => bootBlob(vmlinuz({ magic: 0x184c2102 }), initrd, "", 128 << 20), /zstd/);
    assert.throws(() => bootBlob(vmlinuz({ noteType: 1 }), initrd, "", 128 << 20), /no PVH entry/);
    assert.throws(() => bootBlob(vmlinuz(), initrd, "x".repeat(PAGE), 128 << 20), /too long/);
  });
});
