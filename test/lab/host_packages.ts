import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { hostCommand } from "./host_command.ts";
import type { Progress } from "./progress.ts";

/** A program or file that the lab needs on the build host, and the Debian package that brings it. */
interface Need {
  readonly package: string;
  /** A program on PATH, or an absolute path. */
  readonly file: string;
}

const TO_RUN: readonly Need[] = [
  { package: "qemu-system-x86", file: "qemu-system-x86_64" },
  { package: "tar", file: "tar" },
  { package: "util-linux", file: "setpriv" },
];

const TO_BUILD: readonly Need[] = [
  ...TO_RUN,
  { package: "mmdebstrap", file: "mmdebstrap" },
  { package: "debian-archive-keyring", file: "/usr/share/keyrings/debian-archive-keyring.gpg" },
  { package: "e2fsprogs", file: "mke2fs" },
  { package: "gcc", file: "gcc" },
  { package: "binutils", file: "ld" },
  { package: "libc6-dev", file: "/usr/lib/x86_64-linux-gnu/libc.a" },
];

/**
 * Installs what is missing, with apt-get as root.
 *
 * @throws `Error` that names every missing package where apt-get or root is not there.
 */
export async function installHostPackages(
  purpose: "build" | "run",
  progress: Progress,
): Promise<void> {
  const needs = purpose === "build" ? TO_BUILD : TO_RUN;
  const missing = needs.filter((need) => !isThere(need.file)).map((need) => need.package);
  if (missing.length === 0) return;

  const install = ["apt-get", "install", "--yes", "--no-install-recommends", ...missing] as const;
  if (!isThere("apt-get") || process.getuid?.() !== 0) {
    throw new Error(
      `The lab needs ${missing.join(", ")}, which this machine lacks.\n` +
        `Hint: as root, run: apt-get update && ${install.join(" ")}`,
    );
  }
  await progress.step(`installing ${missing.join(", ")}`, async () => {
    const environment = { DEBIAN_FRONTEND: "noninteractive" };
    // One failing third-party source fails the whole update, while Debian's own lists did arrive.
    await hostCommand(["apt-get", "update"], { environment }).catch(() => {});
    await hostCommand([...install], { environment });
  });
}

function isThere(file: string): boolean {
  if (file.startsWith("/")) return existsSync(file);
  const folders = `${process.env["PATH"]}:/usr/sbin:/sbin`.split(delimiter);
  return folders.some((folder) => existsSync(join(folder, file)));
}
