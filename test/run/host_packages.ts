import { hostCommand } from "../lab/host_command.ts";

/** What the specification compares with, and would miss; the Debian package that brings it. */
const NEEDS: readonly {
  readonly command: readonly [string, ...string[]];
  readonly package: string;
}[] = [
  // our reader of qcow2 headers with what qemu-img writes
  { command: ["qemu-img", "--version"], package: "qemu-utils" },
  // our modules with what libsepol, the kernel's own security server, makes of them
  { command: ["sh", "-c", "ldconfig -p | grep -q libsepol.so.2"], package: "libsepol2" },
  // what we say of a policy with what sesearch's library says of it
  { command: ["/usr/bin/python3", "-c", "import setools"], package: "python3-setools" },
  // a real store of policy modules, in a folder
  { command: ["sh", "-c", "ldconfig -p | grep -q libsemanage.so.2"], package: "libsemanage2" },
];

/** Installs what is missing where apt-get and root are there; elsewhere says what to install. */
export async function providePackages(say: (line: string) => void): Promise<void> {
  const there = await Promise.all(NEEDS.map(({ command }) => works(command)));
  const missing = NEEDS.filter((_, i) => !there[i]).map((need) => need.package);
  if (missing.length === 0) return;
  if (process.getuid?.() !== 0 || !(await works(["apt-get", "--version"]))) {
    say(`missing, so that tests will fail or be skipped: ${missing.join(", ")} (Debian packages)`);
    return;
  }
  say(`installing ${missing.join(", ")}`);
  const environment = { DEBIAN_FRONTEND: "noninteractive" };
  // One failing third-party source fails the whole update, while Debian's own lists did arrive.
  await hostCommand(["apt-get", "update"], { environment }).catch(() => {});
  await hostCommand(["apt-get", "install", "--yes", "--no-install-recommends", ...missing], {
    environment,
  });
}

function works(command: readonly [string, ...string[]]): Promise<boolean> {
  return hostCommand(command).then(() => true, () => false);
}
