import { constants, mkdirSync } from "node:fs";
import { AT_FDCWD, openat2, RESOLVE_NO_SYMLINKS, setLock } from "../../ffi/libc.ts";
import { RefusedError } from "../refused_error.ts";
import type { Host } from "../host.ts";
import { OwnedFd } from "../owned_fd.ts";
import { placeOf } from "../process/place.ts";

/**
 * Makes this process the one agent of a guest until the answer is disposed, or the process ends.
 *
 * @throws {@linkcode RefusedError} while another process is.
 */
export function ownLock(guest: string, { settings }: Host): Disposable {
  const { folder } = placeOf(guest, settings);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const path = `${folder}/lock`;
  const flags = constants.O_RDWR | constants.O_CREAT;
  const how = { flags, mode: 0o600, resolve: RESOLVE_NO_SYMLINKS };
  const fd = new OwnedFd(openat2(AT_FDCWD, path, how), path);
  try {
    setLock(fd.number, { type: "write", start: 0, length: 1 });
    return fd;
  } catch (error) {
    fd[Symbol.dispose]();
    if ((error as { code?: string }).code !== "EAGAIN") throw error;
    throw new RefusedError(
      `another svirt-agent guards guest ${guest}`,
      `Find it: fuser ${path}. To stop the guest: svirt-agent guest stop ${guest}`,
    );
  }
}
