/**
 * What an image's header says. A guest that may write its image may write its header: nothing read
 * here is believed, it is only compared with what the guest file pins.
 *
 * The layout is qemu's docs/interop/qcow2.txt; where qemu's reader is stricter, so is this one.
 *
 * @module
 */

import { pread } from "../../ffi/libc.ts";
import { sizeOf } from "../../ffi/libc_device.ts";
import type { Format } from "../guest.ts";
import { isBlockDevice, type OwnedFd } from "../owned_fd.ts";
import { Field } from "./fields.ts";

/** The header of an image, or what stands for it in a raw one. */
export interface Header {
  readonly format: Format;
  /** Bytes that the guest sees. */
  readonly virtualSize: bigint;
  /** Name of the backing file as it stands there: perhaps relative, perhaps no file at all. */
  readonly backingFile: string | null;
  /** Format of the backing file; without it qemu would guess, so without it the walk ends. */
  readonly backingFormat: string | null;
  /** The guest's data lie in another file, named in {@linkcode dataFile} or nowhere. */
  readonly externalData: boolean;
  readonly dataFile: string | null;
  readonly encryption: "none" | "aes" | "luks";
  /** Incompatible features that are set; one that is not known here is `unknown bit N`. */
  readonly incompatible: readonly string[];
  /** Bytes of the header before its extensions; 0 in a raw image. */
  readonly headerLength: number;
}

/** A qcow2 header. */
export interface Qcow2Header extends Header {
  readonly format: "qcow2";
  readonly version: 2 | 3;
  /** Cluster size is `2 ** clusterBits` bytes. */
  readonly clusterBits: number;
}

const MAGIC = 0x514649fb;
const V2_LENGTH = 72;
const V3_LENGTH = 104;
const MIN_CLUSTER_BITS = 9;
const MAX_CLUSTER_BITS = 21;
const MAX_NAME = 1023;
const MAX_FORMAT_NAME = 15;
const EXTENSION_END = 0;
const EXTENSION_BACKING_FORMAT = 0xe2792aca;
const EXTENSION_DATA_FILE = 0x44415441;
const ENCRYPTION = ["none", "aes", "luks"] as const;
/** By bit. */
const INCOMPATIBLE = [
  "dirty",
  "corrupt",
  "external data file",
  "compression type",
  "extended L2 entries",
] as const;
const EXTERNAL_DATA = 1n << 2n;

/**
 * Reads the header of an image whose format is given.
 *
 * @param fd Lent; open for reading, without O_DIRECT.
 * @throws {@linkcode ImageError} `bad-header`.
 */
export function readHeader(fd: OwnedFd, format: Format): Header {
  if (format === "raw") return rawHeader(fd);
  const start = readStart(fd, V3_LENGTH);
  return parseQcow2(readStart(fd, clusterSize(new Field(start, fd.path))), fd.path);
}

function rawHeader(fd: OwnedFd): Header {
  const stat = fd.stat();
  return {
    format: "raw",
    virtualSize: isBlockDevice(stat) ? sizeOf(fd.number) : stat.size,
    backingFile: null,
    backingFormat: null,
    externalData: false,
    dataFile: null,
    encryption: "none",
    incompatible: [],
    headerLength: 0,
  };
}

function readStart(fd: OwnedFd, length: number): Uint8Array {
  const buffer = new Uint8Array(length);
  return buffer.subarray(0, pread(fd.number, buffer, 0));
}

/**
 * Reads a qcow2 header, version 2 or 3.
 *
 * @param bytes The file's first cluster, which holds all of it; fewer where the file is shorter.
 * @param path For messages.
 * @throws {@linkcode ImageError} `bad-header`, with the offset of what is wrong.
 */
export function parseQcow2(bytes: Uint8Array, path: string): Qcow2Header {
  const field = new Field(bytes, path);
  const cluster = clusterSize(field);
  const version = field.u32(4, "version") as 2 | 3;
  const headerLength = version === 2 ? V2_LENGTH : field.u32(100, "header length");
  if (headerLength < (version === 2 ? V2_LENGTH : V3_LENGTH) || headerLength > cluster) {
    throw field.bad(100, `header length ${headerLength}`);
  }
  const virtualSize = field.u64(24, "virtual size");
  if (virtualSize >= 1n << 63n) throw field.bad(24, `virtual size ${virtualSize}`);
  const method = field.u32(32, "encryption method");
  const encryption = ENCRYPTION[method];
  if (encryption === undefined) throw field.bad(32, `encryption method ${method}`);
  const features = version === 2 ? 0n : field.u64(72, "incompatible features");

  const name = nameRange(field, cluster, headerLength);
  const extensions = readExtensions(field, headerLength, name?.offset ?? cluster);
  const dataFile = extensions.get(EXTENSION_DATA_FILE) ?? null;
  return {
    format: "qcow2",
    version,
    clusterBits: Math.log2(cluster),
    virtualSize,
    backingFile: name && field.text(name.offset, name.length, "backing file name"),
    backingFormat: extensions.get(EXTENSION_BACKING_FORMAT) || null,
    externalData: (features & EXTERNAL_DATA) !== 0n || dataFile !== null,
    dataFile,
    encryption,
    incompatible: featureNames(features),
    headerLength,
  };
}

/** Checks what has to be right before anything else has a meaning. */
function clusterSize(field: Field): number {
  const magic = field.u32(0, "magic");
  if (magic !== MAGIC) {
    throw field.bad(0, `magic 0x${magic.toString(16)}, a qcow2 file has 0x514649fb`);
  }
  const version = field.u32(4, "version");
  if (version !== 2 && version !== 3) throw field.bad(4, `version ${version}`);
  const bits = field.u32(20, "cluster bits");
  if (bits < MIN_CLUSTER_BITS || bits > MAX_CLUSTER_BITS) {
    throw field.bad(20, `cluster bits ${bits}`);
  }
  return 2 ** bits;
}

/** Where the backing file's name is: after the header, in the first cluster; `null` if nowhere. */
function nameRange(
  field: Field,
  cluster: number,
  headerLength: number,
): { offset: number; length: number } | null {
  const offset = field.u64(8, "backing file offset");
  if (offset === 0n) return null;
  if (offset < BigInt(headerLength) || offset > BigInt(cluster)) {
    throw field.bad(8, `backing file offset ${offset}`);
  }
  const length = field.u32(16, "backing file size");
  if (length > Math.min(MAX_NAME, cluster - Number(offset))) {
    throw field.bad(16, `backing file size ${length}`);
  }
  return length === 0 ? null : { offset: Number(offset), length };
}

/**
 * The texts of the extensions that name something. Each may stand there once: of two that differ,
 * qemu would take the last.
 */
function readExtensions(field: Field, start: number, end: number): Map<number, string> {
  const found = new Map<number, string>();
  for (let at = start; at < end;) {
    // A short image ends after its last extension: what is missing reads as zeroes.
    if (at >= field.length) break;
    if (end - at < 8) throw field.bad(at, "an extension cut short");
    const type = field.u32(at, "extension type");
    if (type === EXTENSION_END) break;
    const length = field.u32(at + 4, "extension length");
    const data = at + 8;
    if (length > end - data) throw field.bad(at + 4, `extension length ${length}`);
    if (type === EXTENSION_BACKING_FORMAT || type === EXTENSION_DATA_FILE) {
      const max = type === EXTENSION_BACKING_FORMAT ? MAX_FORMAT_NAME : MAX_NAME;
      if (length > max) throw field.bad(at + 4, `extension length ${length}`);
      if (found.has(type)) throw field.bad(at, `a second extension 0x${type.toString(16)}`);
      found.set(type, field.text(data, length, "extension"));
    }
    at = data + Math.ceil(length / 8) * 8;
  }
  return found;
}

function featureNames(features: bigint): string[] {
  const names: string[] = [];
  for (let bit = 0; bit < 64; bit++) {
    if ((features >> BigInt(bit)) & 1n) names.push(INCOMPATIBLE[bit] ?? `unknown bit ${bit}`);
  }
  return names;
}
