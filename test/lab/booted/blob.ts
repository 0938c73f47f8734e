/**
 * The disk of a guest that boots in the lab, as far as it is data: one blob with the kernel, not
 * compressed, its initrd and what it is told, which boot.S reads to one place in memory.
 *
 * An emulated processor inside an emulated one needs minutes for a firmware's boot loader and for
 * unpacking a kernel; here the machine that builds the lab does both. The kernel is entered by the
 * PVH protocol (Xen, docs/misc/pvh.pandoc; xen/include/public/arch-x86/hvm/start_info.h).
 */

import { zstdDecompressSync } from "node:zlib";

/** What the boot sector has to know, and what it loads. */
export interface BootBlob {
  /** Physical address that the blob is read to; it begins with struct hvm_start_info. */
  readonly load: number;
  /** Where the kernel is entered. */
  readonly entry: number;
  readonly bytes: Uint8Array;
}

const PAGE = 4096;
const START_MAGIC = 0x336ec578;
const MEMORY = 1;
/** At the end of memory, where the firmware leaves its ACPI tables. */
const FIRMWARE = 1 << 20;
/** Below 640 KiB, and above 1 MiB. */
const LOW_MEMORY = 0x9f000, HIGH_MEMORY = 0x100000;

/**
 * Lays out kernel, initrd and command line.
 *
 * @param vmlinuz As distributed: a bzImage.
 * @param memory The guest's, bytes.
 * @throws `Error` for a kernel that cannot be taken apart or entered so.
 */
export function bootBlob(
  vmlinuz: Uint8Array,
  initrd: Uint8Array,
  commandLine: string,
  memory: number,
): BootBlob {
  const { segments, entry } = readKernel(unpack(vmlinuz));
  const first = Math.min(...segments.map(({ address }) => address));
  const end = Math.max(...segments.map(({ address, bytes }) => address + usedLength(bytes)));
  const load = first - pages(initrd.length) - PAGE;
  const bytes = new Uint8Array(end - load);
  bytes.set(startInfo(load, initrd.length, commandLine, memory));
  bytes.set(initrd, PAGE);
  for (const { address, bytes: from } of segments) {
    bytes.set(from.subarray(0, usedLength(from)), address - load);
  }
  return { load, entry, bytes };
}

/** Without the zeros at the end: memory is empty where nothing is read to. */
function usedLength(bytes: Uint8Array): number {
  return bytes.findLastIndex((byte) => byte !== 0) + 1;
}

function pages(length: number): number {
  return Math.ceil(length / PAGE) * PAGE;
}

/** One page: struct hvm_start_info, one hvm_modlist_entry, two hvm_memmap_table_entry, the text. */
function startInfo(load: number, initrd: number, commandLine: string, memory: number): Uint8Array {
  const [modules, map, text] = [0x100, 0x200, 0x300];
  const page = new Uint8Array(PAGE);
  const view = new DataView(page.buffer);
  const u32 = (at: number, ...values: number[]) =>
    values.forEach((value, i) => view.setUint32(at + 4 * i, value, true));
  const u64 = (at: number, ...values: number[]) =>
    values.forEach((value, i) => view.setBigUint64(at + 8 * i, BigInt(value), true));
  const [version, flags, moduleCount, lookForAcpi] = [1, 0, 1, 0];
  u32(0, START_MAGIC, version, flags, moduleCount);
  u64(16, load + modules, load + text, lookForAcpi, load + map);
  u32(48, 2);
  u64(modules, load + PAGE, initrd);
  u64(map, 0, LOW_MEMORY);
  u32(map + 16, MEMORY);
  u64(map + 24, HIGH_MEMORY, memory - HIGH_MEMORY - FIRMWARE);
  u32(map + 40, MEMORY);
  const line = new TextEncoder().encode(commandLine);
  if (text + line.length >= PAGE) throw new Error("The kernel's command line is too long");
  page.set(line, text);
  return page;
}

/** The ELF file in a bzImage; Documentation/arch/x86/boot.rst in Linux. */
function unpack(vmlinuz: Uint8Array): Uint8Array {
  const view = new DataView(vmlinuz.buffer, vmlinuz.byteOffset, vmlinuz.length);
  const setupSectors = view.getUint8(0x1f1) || 4;
  const at = (setupSectors + 1) * 512 + view.getUint32(0x248, true);
  // The last four bytes are the length of what is packed.
  const payload = vmlinuz.subarray(at, at + view.getUint32(0x24c, true) - 4);
  if (new DataView(payload.buffer, payload.byteOffset).getUint32(0, true) === 0xfd2fb528) {
    return zstdDecompressSync(payload);
  }
  throw new Error("Cannot unpack this kernel: it is not packed with zstd");
}

interface Segment {
  /** Physical. */
  readonly address: number;
  readonly bytes: Uint8Array;
}

/** XEN_ELFNOTE_PHYS32_ENTRY */
const NOTE_ENTRY = 18;
const LOAD = 1, NOTE = 4;

/** elf(5), 64 bits: what is loaded, and the note with the 32-bit entry. */
function readKernel(elf: Uint8Array): { segments: Segment[]; entry: number } {
  const view = new DataView(elf.buffer, elf.byteOffset, elf.length);
  const table = Number(view.getBigUint64(0x20, true));
  const [size, count] = [view.getUint16(0x36, true), view.getUint16(0x38, true)];
  const segments: Segment[] = [];
  let entry: number | undefined;
  for (let at = table; at < table + size * count; at += size) {
    const type = view.getUint32(at, true);
    const [offset, , physical, length] = [8, 16, 24, 32].map((field) =>
      Number(view.getBigUint64(at + field, true))
    ) as [number, number, number, number];
    const bytes = elf.subarray(offset, offset + length);
    if (type === LOAD) segments.push({ address: physical, bytes });
    if (type === NOTE) entry ??= findEntry(bytes);
  }
  if (entry === undefined) throw new Error("Cannot boot this kernel: it has no PVH entry");
  return { segments, entry };
}

function findEntry(notes: Uint8Array): number | undefined {
  const view = new DataView(notes.buffer, notes.byteOffset, notes.length);
  const words = (length: number) => Math.ceil(length / 4) * 4;
  for (let at = 0; at + 12 <= notes.length;) {
    const [nameSize, size, type] = [0, 4, 8].map((field) => view.getUint32(at + field, true)) as [
      number,
      number,
      number,
    ];
    const value = at + 12 + words(nameSize);
    if (type === NOTE_ENTRY) return view.getUint32(value, true);
    at = value + words(size);
  }
  return undefined;
}
