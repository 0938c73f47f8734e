import type { OpenImage } from "../image/open.ts";
import { type Layer, layerName } from "../image/layer.ts";
import { descriptorOf } from "../process/descriptor.ts";
import type { Access, OwnedFd } from "../owned_fd.ts";
import type { Qemu } from "../process/qemu.ts";
import { addFd, DroppedError, inheritedFd, type PassedFd } from "./fdset.ts";
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
 * @param inherited It has them since its start, and is only looked at: the kernel puts /dev/null in the
 * place of one that SELinux denies.
 * @param missing Asked, when a descriptor was dropped, what the policy would have to allow.
 * @throws {@linkcode DroppedError} when SELinux denied QEMU one of them; `MonitorError` when the process
 * behind the pidfd does not hold the file: then somebody else answers on this monitor.
 */
export async function passImage(
  qemu: Qemu,
  image: OpenImage,
  missing: (access: Access) => readonly string[],
  inherited = false,
): Promise<Passed> {
  const passOne = async (fd: OwnedFd, access: Access) => {
    try {
      return await pass(qemu, image, fd, access, inherited);
    } catch (error) {
      if (!(error instanceof DroppedError)) throw error;
      throw new DroppedError(error.path, missing(access));
    }
  };
  const ro = await passOne(image.ro, "ro");
  return { ro, rw: image.rw === undefined ? undefined : await passOne(image.rw, "rw") };
}

async function pass(
  { monitor, process }: Qemu,
  image: OpenImage,
  fd: OwnedFd,
  access: Access,
  inherited: boolean,
): Promise<PassedFd> {
  const { fdset } = image.layer, opaque = opaqueText(access, image.layer);
  const passed = inherited
    ? await inheritedFd(monitor, fdset, opaque)
    : await addFd(monitor, fdset, fd, opaque);
  const has = descriptorOf(process.pid, passed.number);
  if (has?.identity === image.identity && has.access === access) return passed;
  const found = has === undefined ? "nothing" : `${has.identity} ${has.access}`;
  throw new MonitorError(
    `${monitor.path}: says descriptor ${passed.number}, where pid ${process.pid} holds ${found} ` +
      `instead of ${image.identity} ${access}`,
    "Something else than the QEMU that was started answers on this monitor.",
  );
}
