import { existsSync, globSync, mkdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { baseStage } from "./base.ts";
import { makeBootDisk } from "./booted/disk.ts";
import { hashOf, type Stage } from "./cache.ts";
import { hostCommand, hostScript } from "./host_command.ts";
import type { Progress } from "./progress.ts";
import { findPackages, findRuntimes, PROJECT } from "./project.ts";
import type { Release } from "./release.ts";

const LAB = join(PROJECT, "test/lab");

/** Enough for the tests' images; the file is sparse, so it costs only what is written. */
const DISK_SIZE = "4G";

/**
 * Second stage: what the machine boots from.
 *
 * The folder has `disk.ext4` (labelled, with the project's policy and runtimes), `initrd` and
 * `vmlinuz`. No SELinux, loop device or network is needed to make it.
 */
export function imageStage(release: Release, progress: Progress): Stage {
  const base = baseStage(release, progress);
  const runtimes = findRuntimes();
  const packages = findPackages();
  const modules = policyModules();
  const probes = files("test/lab/probe/*/*.{c,h}");
  const ours = [...modules, ...probes, ...files("test/lab/{guest,booted}/*"), import.meta.filename];
  return {
    name: `image-${release.name}`,
    inputs: [
      hashOf(base.inputs),
      ...ours.flatMap((file) => [basename(file), readFileSync(file, "utf8")]),
      // 330 MB are not read for each run: npm gives an executable a new time when it replaces it.
      ...runtimes.map(({ file }) => `${file} ${statSync(file).size} ${statSync(file).mtimeMs}`),
      ...packages.map(({ name, version }) => `${name}@${version}`),
    ],
    from: base,
    keep: 3,
    async build(folder, baseFolder) {
      const rootfs = join(folder, "rootfs");
      const makeInitrd = (init: string, output: string) =>
        hostScript(MAKE_INITRD, [
          folder,
          join(baseFolder, "kernel-version"),
          join(LAB, init),
          output,
          ...release.initrdModules,
        ]);
      const makeGuestDisk = async () => {
        const [vmlinuz, initrd] = [join(baseFolder, "vmlinuz"), join(folder, "guest-initrd")];
        await makeInitrd("booted/init", "guest-initrd");
        const share = join(rootfs, "usr/share/svirt-lab");
        mkdirSync(share, { recursive: true });
        await makeBootDisk(vmlinuz, initrd, join(share, "booted.raw"), folder);
        for (const name of ["guest-initrd", "boot.o", "boot.bin"]) rmSync(join(folder, name));
      };
      await progress.step("copying the base", async () => {
        await hostCommand(["cp", "-a", join(baseFolder, "rootfs"), rootfs]);
        await hostScript(INSTALL_LAB, [rootfs, join(LAB, "guest")]);
        if (release.bootsGuests) await makeGuestDisk();
      });
      const names = modules.map((file) => basename(file, ".cil")).join(", ");
      await progress.step(`policy (${names}), runtimes and probes`, () =>
        // Side by side: the policy keeps one processor busy, the rest mostly the disk.
        Promise.all([
          hostScript(INSTALL_POLICY, [rootfs, ...modules]),
          hostScript(INSTALL_RUNTIMES, [
            rootfs,
            join(PROJECT, "node_modules"),
            ...runtimes.map(({ name, file }) => `${name}=${file}`),
            "--",
            ...packages.map(({ name }) => name),
          ]),
          // A folder is a program.
          ...[...new Set(probes.map(dirname))].map((folder) => {
            const program = join(rootfs, "usr/libexec/svirt-lab", basename(folder));
            const sources = probes.filter((file) =>
              file.startsWith(`${folder}/`) && file.endsWith(".c")
            );
            const options = ["-O1", "-static", "-pthread", "-Wall", "-Werror"];
            return hostCommand(["gcc", ...options, "-o", program, ...sources]);
          }),
        ]));
      await progress.step("labels", () => hostScript(LABEL, [rootfs]));
      await progress.step("disk image", async () => {
        await hostScript(MAKE_DISK, [rootfs, join(folder, "disk.ext4"), DISK_SIZE]);
        await makeInitrd("guest/initramfs", "initrd");
        // Its own copy: the base may be pruned while this image is still in use.
        await hostCommand(["cp", join(baseFolder, "vmlinuz"), join(folder, "vmlinuz")]);
        await hostCommand(["rm", "-rf", "--one-file-system", rootfs]);
      });
    },
  };
}

/** What the lab's policy has on top of the distribution's: the project's modules, then the lab's. */
export function policyModules(): string[] {
  return [...files("policies/svirt_agent/*.cil"), ...files("test/lab/policy/*.cil")];
}

/** Sorted paths; none when the folder is not there. */
function files(pattern: string): string[] {
  return globSync(join(PROJECT, pattern)).filter((file) => existsSync(file)).sort();
}

/** Packages are copied with their whole folder, so nested node_modules come along. */
const INSTALL_RUNTIMES = `
rootfs=$1 modules=$2
shift 2
while [ "$1" != -- ]; do
  install -m755 "\${1#*=}" "$rootfs/usr/local/bin/\${1%%=*}"
  shift
done
shift
mkdir -p "$rootfs/src/node_modules"
cd "$modules"
tar cf - "$@" | tar xf - --no-same-owner -C "$rootfs/src/node_modules"
`;

const INSTALL_LAB = `
rootfs=$1 guest=$2 libexec=$1/usr/libexec/svirt-lab
mkdir -p "$libexec" "$rootfs/out" "$rootfs/srv/ext4" "$rootfs/srv/xfs" "$rootfs/var/lib/svirt-lab"
mkdir -p "$rootfs"/var/cache/svirt-agent/deno "$rootfs"/var/cache/svirt-agent/node "$rootfs"/var/cache/svirt-agent/node22
install -m755 "$guest/init" "$guest/init2" "$guest/rc" "$guest/nfs" "$guest/storage" "$guest/loop" "$libexec/"
install -m644 "$guest/nfs_mounts" "$guest/audit.rules" "$guest/file_contexts" "$guest/runtime" "$libexec/"
install -m755 "$guest"/svirt-agent* "$rootfs/usr/sbin/"
rm -rf "$rootfs"/run/*  # it would be under the tmpfs, and stays unlabelled
sed -i 's/^SELINUX=.*/SELINUX=enforcing/' "$rootfs/etc/selinux/config"
echo options lockd nlm_grace_period=1 > "$rootfs/etc/modprobe.d/lab.conf"
echo lab > "$rootfs/etc/hostname"
printf '127.0.0.1 localhost lab\\n::1 localhost\\n' > "$rootfs/etc/hosts"
grep -v '^#' "$guest/nfs_mounts" | while read -r name _ exported _; do
  mkdir -p "$rootfs/export/$name" "$rootfs/srv/$name"
  echo "/export/$name localhost($exported)"
done > "$rootfs/etc/exports"
# xfs wants 300 MB; nearly all of it is a hole
truncate -s 320M "$rootfs/var/lib/svirt-lab/xfs"
chroot "$rootfs" mkfs.xfs -q /var/lib/svirt-lab/xfs
fallocate --dig-holes "$rootfs/var/lib/svirt-lab/xfs"
# auditd keeps everything in one file and never stops for lack of space
sed -i -e 's/^max_log_file_action.*/max_log_file_action = IGNORE/' \\
  -e 's/^\\(.*space_left_action\\|disk_full_action\\|disk_error_action\\).*/\\1 = IGNORE/' \\
  -e 's/^q_depth.*/q_depth = 20000/' "$rootfs/etc/audit/auditd.conf"
# as Debian's libvirt-daemon-system creates them
chroot "$rootfs" sh -euc '
getent group kvm >/dev/null || groupadd --system kvm
getent group libvirt-qemu >/dev/null || groupadd --gid 64055 libvirt-qemu
useradd --uid 64055 --gid libvirt-qemu --groups kvm --no-create-home --home-dir /var/lib/libvirt \\
  --shell /usr/sbin/nologin --comment "Libvirt Qemu" libvirt-qemu'
`;

/**
 * file_contexts.local goes into the module store, from where each rebuild of the policy installs it.
 */
const INSTALL_POLICY = `
rootfs=$1; shift
mkdir -p "$rootfs/usr/share/svirt-lab"
install -m644 "$@" "$rootfs/usr/share/svirt-lab/"
contexts=$rootfs/usr/libexec/svirt-lab/file_contexts
store=$rootfs/var/lib/selinux/default/active
while read -r path type; do
  case $path in ''|'#'*) continue;; esac
  printf '%s\\tsystem_u:object_r:%s:s0\\n' "$path" "$type"
done < "$contexts" > "$store/file_contexts.local"
chroot "$rootfs" sh -euc 'semodule -n -i /usr/share/svirt-lab/*.cil'
`;

/**
 * setfiles pins files through /proc/self/fd: without /proc every file is ENOENT. The mount is in a
 * namespace of its own, so that a killed build leaves nothing mounted.
 */
const LABEL = `
chroot "$1" setfattr -n security.selinux -v system_u:object_r:proc_t:s0 /proc
exec unshare --mount sh -euc '
mount --bind /proc "$1/proc"
chroot "$1" setfiles -m -e /proc /etc/selinux/default/contexts/files/file_contexts /' label "$1"
`;

/** No journal: every boot runs on a throw-away overlay. -d copies security.selinux. */
const MAKE_DISK = `
truncate -s "$3" "$2"
mke2fs -q -t ext4 -O ^has_journal -E lazy_itable_init=1,nodiscard,root_owner=0:0 -d "$1" "$2"
`;

/** busybox and the modules of the root disk; busybox of the guest also unpacks and archives here. */
const MAKE_INITRD = `
cd "$1"; version=$(cat "$2"); init=$3 output=$4; shift 4
busybox=$PWD/rootfs/usr/bin/busybox
[ -x "$busybox" ] || busybox=$PWD/rootfs/bin/busybox
mkdir -p ird/bin ird/dev ird/proc ird/sys ird/root ird/m
cp -L "$busybox" ird/bin/busybox
install -m755 "$init" ird/init
for module; do
  file=$(find "rootfs/usr/lib/modules/$version" -name "$module.ko*" | head -n 1)
  case $file in
    '') continue;;
    *) cp "$file" "ird/m/$module.ko";;
  esac
  echo "$module" >> ird/m/order
done
mknod -m600 ird/dev/console c 5 1
(cd ird; find . | "$busybox" cpio -o -H newc 2>/dev/null) | gzip -1 > "$output"
rm -rf ird
`;
