/**
 * Headers against what is pinned. A guest can write its header, so one that says something else is a
 * finding: somebody changed it, and nothing of what it says is used.
 *
 * @module
 */

import type { Image } from "../guest.ts";
import type { Host } from "../host.ts";
import type { Identity } from "../owned_fd.ts";
import { compareChain, type HeaderFinding } from "./chain.ts";
import { type Folder, requireSame } from "./folder.ts";
import { type Header, readHeader } from "./header.ts";
import { ImageError } from "./image_error.ts";
import type { Layer } from "./layer.ts";
import { openToLook } from "./squash.ts";

/** A file of a guest, as far as its header goes. */
export interface PinnedFile {
  readonly layer: Layer;
  readonly identity: Identity;
}

/** Whose headers are looked at. */
export interface HeaderCheck {
  readonly guest: string;
  /** All of the guest's files, each image before what lies below it. */
  readonly files: readonly PinnedFile[];
  /** Who says how the headers should be, for the message. */
  readonly pinnedBy: string;
  /** A guest has the files: a header that is none any more was one when it got them. */
  readonly runs: boolean;
}

/**
 * Reads headers and records each difference from what is pinned as a finding.
 *
 * @returns What to throw or to tell; empty when all is as pinned.
 * @throws `ImageError` `replaced`, and `bad-header` where no guest runs yet; `SystemError`.
 */
export function checkHeaders(
  check: HeaderCheck,
  { folders, log }: Pick<Host, "folders" | "log">,
): ImageError[] {
  const images = new Set(check.files.map(({ layer }) => layer.image));
  return [...images].flatMap((image) =>
    differencesOf(image, check, folders).map((difference) => {
      const error = errorOf(difference, image, check.pinnedBy);
      log.append({
        event: "finding",
        id: "header-differs",
        severity: "high",
        guest: check.guest,
        text: error.message,
        evidence: { ...difference },
        hint: error.hint!,
      });
      return error;
    })
  );
}

function differencesOf(
  image: Image,
  { files, runs }: HeaderCheck,
  folders: readonly Folder[],
): HeaderFinding[] {
  const chain = files.filter(({ layer }) => layer.image === image);
  const [top, ...backing] = chain.map(({ layer }) => layer);
  try {
    const headers = chain.map((file) => headerOf(file, folders));
    return compareChain({ ...top!, backing }, headers);
  } catch (error) {
    if (!runs || !isBadHeader(error)) throw error;
    const { path } = error;
    const pinned = chain.find(({ layer }) => layer.path === path)!.layer.format;
    return [{ path, what: "format", pinned, header: null }];
  }
}

function isBadHeader(error: unknown): error is ImageError {
  return error instanceof ImageError && error.code === "bad-header";
}

function errorOf(
  { path, what, pinned, header }: HeaderFinding,
  image: Image,
  pinnedBy: string,
): ImageError {
  const text = `has a header that says ${what} ${JSON.stringify(header)}; ${pinnedBy} says ` +
    JSON.stringify(pinned);
  return new ImageError("header-differs", path, text, {
    hint:
      `A guest can write its header, so nothing of what it says is used. Find out who changed ` +
      `it; if it is right, pin it: svirt-agent image chain ${image.path} --format ` +
      `${image.format} --adopt`,
  });
}

/**
 * What the header of a file says now.
 *
 * Opened anew and not with O_DIRECT, which the guest's descriptors may have: it reads whole sectors
 * into aligned memory only.
 */
export function headerOf(
  { layer: { path, format }, identity }: PinnedFile,
  folders: readonly Folder[],
): Header {
  using fd = openToLook(folders, path);
  requireSame(fd, identity, path);
  return readHeader(fd, format);
}
