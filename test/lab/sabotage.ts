import { globSync, readFileSync } from "node:fs";
import { basename, extname, join } from "node:path";
import { baseStage } from "./base.ts";
import { hashOf, type Stage } from "./cache.ts";
import { hostCommand, hostScript } from "./host_command.ts";
import { policyModules } from "./image.ts";
import type { Progress } from "./progress.ts";
import { PROJECT } from "./project.ts";
import type { Release } from "./release.ts";

/**
 * Policies that are broken on purpose, for the live tests that look whether the agent notices.
 *
 * The folder has one binary policy for each file of `sabotage/`: a `.cil` is a module on top of the
 * lab's own policy, a `.sed` changes the distribution's module `virt`, because a module can take
 * nothing away from an attribute. A stage of its own, which only the run that asks for it waits for.
 */
export function sabotageStage(release: Release, progress: Progress): Stage {
  const base = baseStage(release, progress);
  const modules = policyModules();
  const broken = globSync(join(PROJECT, "test/lab/sabotage/*")).sort();
  return {
    name: `sabotage-${release.name}`,
    inputs: [
      hashOf(base.inputs),
      ...[...modules, ...broken, import.meta.filename]
        .flatMap((file) => [basename(file), readFileSync(file, "utf8")]),
    ],
    from: base,
    keep: 2,
    async build(folder, baseFolder) {
      const rootfs = join(baseFolder, "rootfs");
      await progress.step(`${broken.length} broken policies`, async () => {
        await hostScript(UNPACK_MODULES, [rootfs, folder, ...modules]);
        const waiting = [...broken];
        const worker = async () => {
          for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
            const name = basename(file, extname(file));
            await hostScript(COMPILE, [rootfs, folder, file, name]);
          }
        };
        await Promise.all([worker(), worker()]);
        await hostCommand(["rm", "-rf", join(folder, "cil")]);
      });
    },
  };
}

/** The store keeps each module compressed, as `PRIORITY/NAME/cil`. */
const UNPACK_MODULES = `
rootfs=$1 cil=$2/cil; shift 2
mkdir "$cil"
cp "$@" "$cil/"
cd "$rootfs/var/lib/selinux/default/active/modules"
for module in */*/cil; do
  name=\${module%/cil}; name=\${name#*/}
  [ -e "disabled/$name" ] || "$rootfs/usr/bin/busybox" bunzip2 < "$module" > "$cil/$name.cil"
done
`;

/**
 * The release's own compiler, run without a chroot: the base is not written to. 33 is the newest
 * format that both releases' kernels load; load_policy(8) would convert, and knows one path only.
 */
const COMPILE = `
rootfs=$1 folder=$2 broken=$3 name=$4 cil=$2/cil
set -- "$cil"/*.cil
case $broken in
  *.cil) set -- "$@" "$broken";;
  *.sed)
    sed -f "$broken" "$cil/virt.cil" > "$cil/$name.changed"
    if cmp -s "$cil/virt.cil" "$cil/$name.changed"; then
      echo "$broken changes nothing in the module virt" >&2; exit 1
    fi
    for file; do shift; case $file in */virt.cil) file=$cil/$name.changed;; esac; set -- "$@" "$file"; done;;
esac
"$rootfs/lib64/ld-linux-x86-64.so.2" --library-path "$rootfs/usr/lib/x86_64-linux-gnu" \\
  "$rootfs/usr/bin/secilc" --disable-neverallow --multiple-decls --policyvers=33 \\
  --filecontext=/dev/null --output="$folder/$name.policy" "$@"
`;
