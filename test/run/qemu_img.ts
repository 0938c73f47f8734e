import { hostCommand } from "../lab/host_command.ts";

/**
 * The specification compares our reader of qcow2 headers with what qemu-img writes, and would skip
 * that without it. Installed where apt-get and root are there; elsewhere the skip says its reason.
 */
export async function provideQemuImg(say: (line: string) => void): Promise<void> {
  if (await works(["qemu-img", "--version"])) return;
  if (process.getuid?.() !== 0 || !(await works(["apt-get", "--version"]))) {
    say("qemu-img is missing: some tests will be skipped (Debian package qemu-utils)");
    return;
  }
  say("installing qemu-utils");
  const environment = { DEBIAN_FRONTEND: "noninteractive" };
  // One failing third-party source fails the whole update, while Debian's own lists did arrive.
  await hostCommand(["apt-get", "update"], { environment }).catch(() => {});
  await hostCommand(["apt-get", "install", "--yes", "--no-install-recommends", "qemu-utils"], {
    environment,
  });
}

function works(command: readonly [string, ...string[]]): Promise<boolean> {
  return hostCommand(command).then(() => true, () => false);
}
