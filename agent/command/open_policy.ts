import { isAbsolute, join } from "node:path";
import { NoSelinuxError } from "../label/ready.ts";
import { kernel } from "../label/selinux.ts";
import type { BooleanValues } from "../policy/binary/with_booleans.ts";
import type { PolicyEngine } from "../policy/engine.ts";
import { LiveEngine } from "../policy/live_engine.ts";
import { OfflinePolicy, PolicyFileError } from "../policy/offline.ts";
import { type OptionValue, UsageError } from "./command.ts";

/**
 * The policy that is asked: a file, or the running kernel's.
 *
 * @param path What `--policy` said.
 * @throws `UsageError` for a file that is not there; `NoSelinuxError` where the kernel has none.
 */
export function openPolicy(path: OptionValue): PolicyEngine {
  return typeof path === "string" ? openPolicyFile(path, "--policy ") : openRunning();
}

/** open(2) and read(2): another path has to be named. */
const WRONG_PATH = ["ENOENT", "EACCES", "EISDIR", "ENOTDIR", "ELOOP", "ENAMETOOLONG"];

/** @param said What stood before the path, for messages. @throws `UsageError` for one that is not there. */
export function openPolicyFile(path: string, said = ""): OfflinePolicy {
  try {
    return OfflinePolicy.read(isAbsolute(path) ? path : join(process.cwd(), path));
  } catch (error) {
    if (!WRONG_PATH.includes((error as { code?: string }).code ?? "")) throw error;
    throw new UsageError(
      `${said}${JSON.stringify(path)}: ${(error as Error).message}`,
      "A host has its own in /etc/selinux/*/policy/policy.*",
    );
  }
}

function openRunning(): LiveEngine {
  const hint = "Name one: --policy /etc/selinux/default/policy/policy.33";
  if (kernel.mode() === "disabled") {
    throw new NoSelinuxError("SELinux is disabled on this host: there is no policy to ask", hint);
  }
  try {
    return new LiveEngine();
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    if (code === "EACCES") {
      throw new PolicyFileError(
        `Cannot read the kernel's policy: ${message}`,
        `As root, or: ${hint}`,
      );
    }
    throw error;
  }
}

/**
 * What `--boolean NAME=on|off` said.
 *
 * @throws `UsageError` for another form, for a boolean that the policy lacks, for two values of one.
 */
export function booleansOf(given: OptionValue, { db, origin }: PolicyEngine): BooleanValues {
  const values: Record<string, boolean> = {};
  for (const text of Array.isArray(given) ? given : []) {
    const match = /^([^=]+)=(on|off|1|0|true|false)$/.exec(String(text));
    if (match === null) {
      throw new UsageError(`--boolean "${text}" is no NAME=on and no NAME=off`, "NAME=on|off");
    }
    const [, name, word] = match as unknown as [string, string, string];
    if (!db.booleans.some((it) => it.name === name)) {
      const similar = db.booleans.map((it) => it.name).filter((it) => it.includes(name)).slice(
        0,
        5,
      );
      throw new UsageError(
        `${origin} has no boolean "${name}"`,
        similar.length > 0 ? `Similar: ${similar.join(", ")}` : "List them: seinfo -b FILE",
      );
    }
    const value = ["on", "1", "true"].includes(word);
    if (values[name] === !value) {
      throw new UsageError(`--boolean ${name} is both on and off`, "Say one of them");
    }
    values[name] = value;
  }
  return values;
}
