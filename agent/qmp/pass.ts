import type { OpenImage } from "../image/open.ts";
import { type Layer, layerName } from "../image/layer.ts";
import { descriptorsOf } from "../process/descriptor.ts";
import type { Access, OwnedFd } from "../owned_fd.ts";
import type { Qemu } from "../process/start.ts";
import { addFd, type PassedFd } from "./fdset.ts";
import { MonitorError } from "./monitor.ts";

/** The descriptors of one file that are in QEMU's fdset. */
export interface Passed {
  readonly ro: PassedFd;
  readonly rw: PassedFd | undefined;
}

/** Opaque text of a descriptor, which query-fdsets shows: mode and image. */
export function opaqueText(access: Access, layer: Layer): string {
  return `svirt-agent ${access} ${layerName(layer)} ${layer.path}`;
}

/**
 * Passes a file's descriptors into its fdset, one a message, and makes sure that this QEMU has them.
 *
 * @throws `DroppedError` when SELinux denied QEMU one of them; `MonitorError` when the process
 * behind the pidfd does not hold the file: then somebody else answers on this monitor.
 */
export async function passImage(qemu: Qemu, image: OpenImage): Promise<Passed> {
  const ro = await pass(qemu, image, image.ro, "ro");
  const rw = image.rw === undefined ? undefined : await pass(qemu, image, image.rw, "rw");
  return { ro, rw };
}

async function pass(
  { monitor, process }: Qemu,
  image: OpenImage,
  fd: OwnedFd,
  access: Access,
): Promise<PassedFd> {
  const passed = await addFd(monitor, image.layer.fdset, fd, opaqueText(access, image.layer));
  const has = descriptorsOf(process.pid).find(({ number }) => number === passed.number);
  if (has?.identity === image.identity && has.access === access) return passed;
  const found = has === undefined ? "nothing" : `${has.identity} ${has.access}`;
  throw new MonitorError(
    `${monitor.path}: says descriptor ${passed.number}, where pid ${process.pid} holds ${found} ` +
      `instead of ${image.identity} ${access}`,
    "Something else than the QEMU that was started answers on this monitor.",
  );
}
