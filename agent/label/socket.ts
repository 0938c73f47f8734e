import { AF_UNIX, SOCK_STREAM, socket } from "../../ffi/libc_socket.ts";
import { libselinux } from "../../ffi/libselinux.ts";
import { SystemError } from "../../ffi/errno.ts";
import { OwnedFd } from "../owned_fd.ts";
import { formatContext } from "./context.ts";
import { kernel } from "./selinux.ts";

/**
 * A unix stream socket with the agent's own type at another level.
 *
 * The socket that a server accepts takes the level of the client's. At the agent's own
 * `s0-s0:c0.c1023` a guest could not write to it, and its monitor would stay silent.
 */
export function createSocketAt(level: string, path: string): OwnedFd {
  return createSocket(formatContext({ ...kernel.ownContext(), level }), path);
}

/** A unix stream socket with this context; the caller owns it. */
export function createSocket(context: string, path: string): OwnedFd {
  return makingSocketsAs(context, () => new OwnedFd(socket(AF_UNIX, SOCK_STREAM), path));
}

/** Runs `action`, and every socket that it makes on this thread has this context. */
export function makingSocketsAs<T>(context: string, action: () => T): T {
  // In force until taken back: nothing may come between. setsockcreatecon(3)
  setSockCreate(context);
  try {
    return action();
  } finally {
    setSockCreate(null);
  }
}

function setSockCreate(context: string | null): void {
  if (libselinux().setsockcreatecon_raw(context) === 0) return;
  throw SystemError.last("setsockcreatecon_raw", { path: context ?? "" });
}
