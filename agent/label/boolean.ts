import { existsSync, readdirSync, readFileSync } from "node:fs";
import { libselinux } from "../../ffi/libselinux.ts";
import { SystemError } from "../../ffi/errno.ts";

/** An SELinux boolean, as it is and as it will be. */
export interface BooleanState {
  readonly name: string;
  /** What the kernel enforces now. */
  readonly active: boolean;
  /** What a commit would make active. */
  readonly pending: boolean;
  /** What it is after the next boot; `null` where the policy store cannot be read. */
  readonly persistent: boolean | null;
}

/** The kernel's booleans; tests put a fake in their place. */
export interface Booleans {
  /** `undefined` when the policy has no such boolean. */
  read(name: string): BooleanState | undefined;
  /** Active values of all, by name. */
  all(): ReadonlyMap<string, boolean>;
  /** Sets it until the next boot or policy load. @throws `SystemError` `EACCES`, `ENOENT`. */
  write(name: string, value: boolean): void;
}

/** One file a boolean; selinux(8). */
const FOLDER = "/sys/fs/selinux/booleans";

const SET_HINT = "The policy does not let the agent set booleans. As an administrator: " +
  "setsebool svirt_agent_set_booleans on, or set this one yourself with setsebool.";

/** security_get_boolean_active(3), security_set_boolean(3). */
export const booleans: Booleans = {
  read(name) {
    const active = libselinux().security_get_boolean_active(name);
    if (active < 0) {
      const error = SystemError.last("security_get_boolean_active", { path: name });
      if (error.code === "ENOENT") return undefined;
      throw error;
    }
    const pending = libselinux().security_get_boolean_pending(name);
    return { name, active: active === 1, pending: pending === 1, persistent: persistent(name) };
  },

  all() {
    const names = readdirSync(FOLDER);
    return new Map(
      names.map((name) => [name, libselinux().security_get_boolean_active(name) === 1]),
    );
  },

  write(name, value) {
    for (
      const [operation, result] of [
        ["security_set_boolean", () => libselinux().security_set_boolean(name, value ? 1 : 0)],
        ["security_commit_booleans", () => libselinux().security_commit_booleans()],
      ] as const
    ) {
      if (result() === 0) continue;
      const error = SystemError.last(operation, { path: name });
      throw error.code === "EACCES" ? error.withHint(SET_HINT) : error;
    }
  },
};

/** Local changes to booleans in the policy store, one `name=0` a line; semanage.conf(5). */
const LOCAL = ["targeted", "default", "mls"].map((store) =>
  `/var/lib/selinux/${store}/active/booleans.local`
);

/** What setsebool -P left; a boolean nobody changed for good keeps the policy's own default. */
function persistent(name: string): boolean | null {
  try {
    const file = LOCAL.find((path) => existsSync(path));
    if (file === undefined) return null;
    const line = new RegExp(`^${name}=([01])$`, "m").exec(readFileSync(file, "utf8"));
    return line === null ? null : line[1] === "1";
  } catch {
    // Root may read the store, the agent's domain may not.
    return null;
  }
}
