/**
 * The backing chain as the headers tell it. It is shown, pinned once by an administrator, and from
 * then on only compared: what a guest opens comes from its file, never from here.
 *
 * @module
 */

import { posix } from "node:path";
import { SystemError } from "../../ffi/errno.ts";
import type { Format, Image } from "../guest.ts";
import type { Identity } from "../owned_fd.ts";
import type { Folder } from "./folder.ts";
import { type Header, readHeader } from "./header.ts";
import { ImageError, shellWord } from "./image_error.ts";
import { openToLook } from "./squash.ts";

/** qemu allows more, but nobody keeps 64 snapshots on purpose. */
const MAX_DEPTH = 64;

/** Answer of `svirt-agent image chain --json`. */
export interface ChainReport {
  readonly schemaVersion: 1;
  /** From the image down; it ends early where a problem is. */
  readonly chain: readonly ChainEntry[];
  /** Why the chain cannot be pinned as it is; empty if it can. */
  readonly problems: readonly string[];
}

/** One file of a chain; what could not be read is `null`. */
export interface ChainEntry {
  /** Absolute. */
  readonly path: string;
  /** As given, or as the header above names it; `null` where that names none. */
  readonly format: string | null;
  /** Bytes; a decimal string where a JSON number would not be exact. */
  readonly virtualSize: number | string | null;
  /** Absolute path of the next file, or the name as it stands there if it is no path. */
  readonly backing: string | null;
  /** External data file, as the header names it; empty where it names none. */
  readonly dataFile: string | null;
}

/** What {@linkcode readChain} is told besides the first file. */
export interface ChainOptions {
  /** Format of a backing file whose header above names none. */
  readonly backingFormat?: Format | undefined;
}

/**
 * Walks what the headers say, from a path and a format that are given; no format is ever probed.
 *
 * @param folders Lent; every file is opened beneath them, read-only.
 * @throws What {@linkcode openToLook} throws, for the first file only: everything below it that
 * cannot be followed is a problem in the report.
 */
export function readChain(
  folders: readonly Folder[],
  path: string,
  format: Format,
  { backingFormat }: ChainOptions = {},
): ChainReport {
  const chain: ChainEntry[] = [];
  const problems: string[] = [];
  const seen = new Map<Identity, string>();
  let next: Link | undefined = { path, format };
  while (next !== undefined) {
    const link: Link = next;
    next = undefined;
    try {
      const header = readOne(folders, link, seen);
      const { backingFile } = header;
      const backing = backingFile === null ? null : backingPath(link.path, backingFile);
      chain.push(entry(link, header, backing));
      problems.push(...contentProblems(link.path, header));
      if (backing === null) continue;
      next = { path: backing, format: header.backingFormat ?? backingFormat ?? null };
      requireFollowable(link.path, next, chain.length);
    } catch (error) {
      if (!isFileError(error) || (chain.length === 0 && !isBadHeader(error))) throw error;
      problems.push(error.hint === undefined ? error.message : `${error.message}. ${error.hint}`);
      // What was named but not followed still stands in the list, so that a reader sees it.
      const last: Link = next ?? link;
      if (chain.at(-1)?.path !== last.path) chain.push(entry(last));
      next = undefined;
    }
  }
  return { schemaVersion: 1, chain, problems };
}

/** A file to read next. */
interface Link {
  readonly path: string;
  readonly format: string | null;
}

function readOne(folders: readonly Folder[], link: Link, seen: Map<Identity, string>): Header {
  using fd = openToLook(folders, link.path);
  const earlier = seen.get(fd.identity);
  if (earlier !== undefined) {
    throw new ImageError("chain-unclear", link.path, `is its own backing file, as ${earlier}`);
  }
  seen.set(fd.identity, link.path);
  return readHeader(fd, link.format as Format);
}

function requireFollowable(from: string, { path, format }: Link, depth: number): void {
  if (!isPath(path)) {
    throw new ImageError("chain-unclear", from, `names a backing file that is no path: ${path}`, {
      hint: `Write the real path into it: qemu-img rebase -u -b PATH -F FORMAT ${shellWord(from)}`,
    });
  }
  if (format === null) {
    const rebase = `qemu-img rebase -u -b ${shellWord(path)} -F FORMAT ${shellWord(from)}`;
    throw new ImageError("chain-unclear", from, "does not name the format of its backing file", {
      hint: `Give it by --backing-format, or write it into the header: ${rebase}`,
    });
  }
  if (format !== "qcow2" && format !== "raw") {
    throw new ImageError("chain-unclear", from, `names a backing file of format "${format}"`, {
      hint: "The agent passes qcow2 and raw images. Convert it: qemu-img convert -O qcow2",
    });
  }
  if (depth >= MAX_DEPTH) {
    throw new ImageError("chain-unclear", from, `is ${depth} files deep in its chain`, {
      hint: "Merge layers with qemu-img commit, while no guest uses them.",
    });
  }
}

function contentProblems(path: string, header: Header): string[] {
  const named = JSON.stringify(path);
  const problems: string[] = [];
  if (header.externalData) {
    problems.push(`${named} keeps its data in another file (${header.dataFile ?? "no name"})`);
  }
  if (header.encryption !== "none") {
    problems.push(`${named} is encrypted (${header.encryption}), which a guest file cannot say`);
  }
  for (const feature of header.incompatible) {
    if (feature.startsWith("unknown")) problems.push(`${named} needs a qcow2 feature: ${feature}`);
  }
  return problems;
}

function entry({ path, format }: Link, header?: Header, backing: string | null = null): ChainEntry {
  const size = header?.virtualSize ?? null;
  return {
    path,
    format,
    virtualSize: size === null ? null : jsonNumber(size),
    backing,
    dataFile: header?.externalData ? header.dataFile ?? "" : null,
  };
}

function jsonNumber(value: bigint): number | string {
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : String(value);
}

function isFileError(error: unknown): error is ImageError | SystemError {
  return error instanceof ImageError || error instanceof SystemError;
}

function isBadHeader(error: ImageError | SystemError): boolean {
  return error.code === "bad-header";
}

/**
 * The backing name of the file `from` as an absolute path; one that is no path stays as it is.
 * qemu, too, takes a name relative to the file that holds it.
 */
export function backingPath(from: string, name: string): string {
  return isPath(name) ? posix.resolve(posix.dirname(from), name) : name;
}

/**
 * Could the name be a file's? Not `json:` and `nbd://`, which qemu tells by a colon before any
 * slash; nor what means another file in every process.
 */
function isPath(name: string): boolean {
  return !/^[^/]*:/.test(name) && !/^\/+(dev\/fdset|dev\/fd|proc)\//.test(name);
}

/** A header and the guest file disagree; the guest file is right and the image is refused. */
export interface HeaderFinding {
  /** The file whose header it is. */
  readonly path: string;
  readonly what: "format" | "backing" | "backing-format" | "data-file" | "encryption" | "feature";
  /** What the guest file says; `null` is none. */
  readonly pinned: string | null;
  readonly header: string | null;
}

/** An image and its backing files as they should be. */
export interface PinnedChain extends Pick<Image, "path" | "format"> {
  readonly backing: readonly Pick<Image, "path" | "format">[];
}

/**
 * Compares a pinned chain with what its headers say now. A raw file has no header to compare, and
 * a missing backing format contradicts nothing.
 *
 * @param headers Of the image and then of each pinned backing file, in that order.
 */
export function compareChain(
  pinned: PinnedChain,
  headers: readonly Header[],
): HeaderFinding[] {
  const layers = [pinned, ...pinned.backing];
  if (headers.length !== layers.length) {
    throw new RangeError(`Cannot compare ${layers.length} files with ${headers.length} headers`);
  }
  return layers.flatMap((layer, i) => compareLayer(layer, layers[i + 1], headers[i]!));
}

function compareLayer(
  layer: Pick<Image, "path" | "format">,
  next: Pick<Image, "path" | "format"> | undefined,
  header: Header,
): HeaderFinding[] {
  const findings: HeaderFinding[] = [];
  const compare = (what: HeaderFinding["what"], pinned: string | null, said: string | null) => {
    if (pinned !== said) findings.push({ path: layer.path, what, pinned, header: said });
  };
  compare("format", layer.format, header.format);
  if (layer.format === "raw" || header.format === "raw") return findings;
  const { backingFile, backingFormat, externalData, dataFile, encryption } = header;
  const backing = backingFile === null ? null : backingPath(layer.path, backingFile);
  compare("backing", next === undefined ? null : posix.normalize(next.path), backing);
  if (next && backingFormat !== null) compare("backing-format", next.format, backingFormat);
  compare("data-file", null, externalData ? dataFile ?? "" : null);
  compare("encryption", null, encryption === "none" ? null : encryption);
  const unknown = header.incompatible.filter((feature) => feature.startsWith("unknown"));
  compare("feature", null, unknown.join(", ") || null);
  return findings;
}

/**
 * The `backing` key of a guest file's `[[image]]`, in TOML, for `image chain --adopt`. No file is
 * shared by default: that is for an administrator to say, in every guest that uses it.
 *
 * @throws {@linkcode ImageError} `chain-unclear` when the report has problems.
 */
export function adoptText({ chain, problems }: ChainReport): string {
  const [problem] = problems;
  if (problem !== undefined) {
    throw new ImageError("chain-unclear", chain[0]?.path ?? "", `cannot be adopted: ${problem}`);
  }
  const lines = chain.slice(1).map(({ path, format }) =>
    // Names hold no control characters, and so a JSON string is a TOML string.
    `  { path = ${JSON.stringify(path)}, format = "${format}", shared = false },\n`
  );
  return lines.length === 0 ? "backing = []\n" : `backing = [\n${lines.join("")}]\n`;
}
