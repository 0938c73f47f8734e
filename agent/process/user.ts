import { type Credential, lookUpUser } from "../../ffi/libc_process.ts";
import { ConfigError } from "../config/config_error.ts";
import type { Guest } from "../guest.ts";

/** @throws `ConfigError` when there is no such user, or it is root under another name. */
export function credentialOf({ qemu, file }: Guest): Credential {
  const found = lookUpUser(qemu.user);
  if (found === undefined) {
    throw new ConfigError(file, `there is no user "${qemu.user}"`, {
      key: "qemu.user",
      hint: `Make it: useradd --system --user-group ${qemu.user}`,
    });
  }
  if (found.uid === 0) {
    throw new ConfigError(file, `"${qemu.user}" has uid 0`, {
      key: "qemu.user",
      hint: "QEMU never runs as root: name an unprivileged user.",
    });
  }
  return found;
}
