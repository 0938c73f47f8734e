/**
 * Images that have to be there when QEMU starts: their descriptors are inherited instead of passed,
 * and their block nodes stand on the command line.
 *
 * @module
 */

import type { Guest } from "../guest.ts";
import { isCold, isFlash } from "../image/device.ts";
import { chainsOf, type Layer } from "../image/layer.ts";
import type { OpenImage } from "../image/open.ts";
import type { OwnedFd } from "../owned_fd.ts";
import { blockNodes, device } from "./graph.ts";
import { opaqueText } from "./pass.ts";

/** A descriptor that QEMU inherits. */
export interface Inherited {
  /** Lent. */
  readonly fd: OwnedFd;
  readonly fdset: number;
  readonly opaque: string;
}

/** The descriptors of those images that cannot be passed later, in the order of their numbers. */
export function inheritedOf(opened: readonly OpenImage[]): Inherited[] {
  return opened.filter(({ layer }) => isCold(layer.image)).flatMap(({ layer, ro, rw }) => {
    const of = (fd: OwnedFd, access: "ro" | "rw") => ({
      fd,
      fdset: layer.fdset,
      opaque: opaqueText(access, layer),
    });
    return [of(ro, "ro"), ...rw === undefined ? [] : [of(rw, "rw")]];
  });
}

/** Puts inherited descriptors into their fdsets; `first` is the number of the first of them. */
export function inheritedArguments(inherited: readonly Inherited[], first: number): string[] {
  return inherited.flatMap(({ fdset, opaque }, i) => [
    "-add-fd",
    `fd=${first + i},set=${fdset},opaque=${opaque.replaceAll(",", ",,")}`,
  ]);
}

/** The nodes and devices of those images, for the command line. */
export function coldArguments(guest: Guest, layers?: readonly Layer[]): string[] {
  const chains = chainsOf(guest, layers).filter(([top]) => isCold(top!.image));
  const flash = chains.flatMap(([top]) => isFlash(top!.image) ? [top!.node] : []);
  return [
    ...chains.flatMap(blockNodes).flatMap(({ arguments: node }) => [
      "-blockdev",
      JSON.stringify(node),
    ]),
    ...flash.flatMap((node, i) => ["-machine", `pflash${i}=${node}`]),
    ...chains.flatMap(([top]) => {
      if (isFlash(top!.image)) return [];
      return ["-device", JSON.stringify(device(top!, guest).arguments)];
    }),
  ];
}
