import { readFileSync } from "node:fs";
import type { Stage } from "./cache.ts";
import { hostCommand, hostScript } from "./host_command.ts";
import type { Progress } from "./progress.ts";
import { PACKAGES, type Release } from "./release.ts";

/**
 * First stage: the release as Debian publishes it, as a folder, and its kernel.
 *
 * The folder has `rootfs/` (kernel modules included), `vmlinuz` and `kernel-version`.
 */
export function baseStage(release: Release, progress: Progress): Stage {
  const packages = [...PACKAGES, ...release.packages];
  return {
    name: `base-${release.name}`,
    inputs: [JSON.stringify(release), ...packages, readFileSync(import.meta.filename, "utf8")],
    keep: 2,
    async build(folder) {
      const mirror = await findMirror();
      const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
      const source = `deb [signed-by=${keyring}] ${mirror} ${release.suite} main\n`;
      await progress.step(
        `Debian ${release.name}: ${packages.length} packages and what they need (about a minute)`,
        () => bootstrap(`${folder}/rootfs`, release.suite, packages, source),
      );
      await progress.step("kernel", () => hostScript(UNPACK_KERNEL, [folder, source]));
    },
  };
}

/**
 * The archive that this machine's own apt takes Debian from.
 *
 * Among several sources only Debian's archive proper counts: security and third parties have other
 * labels and lack most packages.
 */
async function findMirror(): Promise<string> {
  // deno-fmt-ignore
  const sites = await hostCommand([
    "apt-get", "indextargets", "--format", "$(SITE)",
    "Created-By: Packages", "Origin: Debian", "Label: Debian", "Component: main",
  ]);
  const [site] = sites.split("\n");
  if (site) return site;
  throw new Error(
    "Cannot find a Debian archive in apt's sources.\nHint: run `apt-get update` and look at `apt-get indextargets`",
  );
}

async function bootstrap(
  rootfs: string,
  suite: string,
  packages: readonly string[],
  source: string,
): Promise<void> {
  // deno-fmt-ignore
  await hostCommand([
    "mmdebstrap", "--variant=essential", "--mode=root", "--format=directory",
    '--aptopt=Apt::Install-Recommends "false"',
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    `--include=${packages.join(",")}`,
    suite, rootfs, "-",
  ], { input: source });
}

/**
 * The cloud kernel has virtio, nfsd, ext4 and xfs, and a tenth of the modules. Its package is
 * unpacked, not installed: its scripts would build an initrd and a boot loader's menu.
 */
const UNPACK_KERNEL = `
cd "$1"; mkdir -p apt/lists/partial apt/cache kernel
printf '%s' "$2" > apt/sources.list
set -- -o Dir::Etc::SourceList="$PWD/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null \\
  -o Dir::State::Lists="$PWD/apt/lists" -o Dir::Cache="$PWD/apt/cache" -o APT::Sandbox::User=root
apt-get "$@" update
image=$(apt-cache "$@" depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \\(linux-image-[^ ]*\\).*/\\1/p' | head -n 1)
(cd apt && apt-get "$@" download "$image")
dpkg -x apt/linux-image-*.deb kernel
cp kernel/boot/vmlinuz-* vmlinuz
version=$(basename kernel/boot/vmlinuz-*); version=\${version#vmlinuz-}
echo "$version" > kernel-version
mkdir -p rootfs/usr/lib/modules
# /lib/modules before Debian 13
[ -d kernel/usr/lib/modules ] && mv kernel/usr/lib/modules/* rootfs/usr/lib/modules/ \\
  || mv kernel/lib/modules/* rootfs/usr/lib/modules/
# In the machine, decompressing them would cost seconds of every boot.
find rootfs/usr/lib/modules -name '*.ko.xz' -print0 | xargs -0 -r -n 50 -P 2 rootfs/usr/bin/busybox unxz
chroot rootfs depmod "$version"
rm -rf apt kernel
`;
