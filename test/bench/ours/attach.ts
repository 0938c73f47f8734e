/**
 * `attach.ts FOLDER LOG`: attaches an image of FOLDER to a QEMU that runs already, through the
 * functions that `agent/attach.ts` names, in its order. A line is `PID MONITOR IMAGE`.
 *
 * Left out are the start of QEMU, whose time is QEMU's, and the questions to the policy, which a
 * host without SELinux cannot answer. There no local filesystem is fit for images either, so the
 * storage is classified and the refusal not asked for.
 */

import { constants } from "node:fs";
import { AuditLog } from "../../../agent/audit/log.ts";
import { grantImages } from "../../../agent/grant/grant.ts";
import type { Guest } from "../../../agent/guest.ts";
import type { Host } from "../../../agent/host.ts";
import { Folder } from "../../../agent/image/folder.ts";
import type { Inspected } from "../../../agent/image/inspect.ts";
import { chainsOf, layersOf } from "../../../agent/image/layer.ts";
import { openImage } from "../../../agent/image/open.ts";
import { readOwner } from "../../../agent/image/owner.ts";
import { checkHeaders } from "../../../agent/image/pinned.ts";
import { openToLook } from "../../../agent/image/squash.ts";
import { labelImage } from "../../../agent/label/apply.ts";
import { classify, mountOf } from "../../../agent/label/mount.ts";
import { kernel } from "../../../agent/label/selinux.ts";
import { startTimeOf } from "../../../agent/process/contexts.ts";
import { placeOf } from "../../../agent/process/place.ts";
import type { Qemu } from "../../../agent/process/qemu.ts";
import { credentialOf } from "../../../agent/process/user.ts";
import { imageGraph, runAll } from "../../../agent/qmp/graph.ts";
import { AF_UNIX, SOCK_STREAM, socket } from "../../../ffi/libc_socket.ts";
import { OwnedFd } from "../../../agent/owned_fd.ts";
import { Monitor } from "../../../agent/qmp/monitor.ts";
import { passImage } from "../../../agent/qmp/pass.ts";
import { FakeSelinux, UNTOUCHED } from "../../fakes/host.ts";
import { serve, timed } from "./serve.ts";

const [folder, log] = process.argv.slice(2) as [string, string];

/** Asks this kernel for the label, and takes one for it where it has none. */
class Selinux extends FakeSelinux {
  override readLabel(fd: OwnedFd): typeof UNTOUCHED {
    kernel.readLabel(fd);
    return UNTOUCHED;
  }
}

const host: Pick<Host, "settings" | "folders" | "log" | "selinux" | "agent"> = {
  settings: {
    folders: [folder],
    audit: { folder },
    categories: { low: 0, high: 1023 },
    boolean: "ask",
    fence: "off",
    onBooleanOn: "report",
    runtimeFolder: folder,
  },
  folders: [Folder.open(folder)],
  log: AuditLog.open(log),
  selinux: new Selinux(),
  agent: { pid: process.pid, startTime: startTimeOf(process.pid)! },
};

let count = 0;

function guestWith(path: string): Guest {
  return {
    name: `web${++count}`,
    qemu: { binary: "qemu-system-x86_64", args: ["-M", "pc"], user: "nobody", accelerator: "tcg" },
    images: [{
      name: "root",
      path,
      format: "raw",
      access: "rw",
      cache: "writeback",
      device: "virtio-blk-pci",
      shared: false,
      transient: false,
      backing: [],
    }],
    file: "web.toml",
  };
}

/** `inspectImages`, without its refusal of the storage. */
function inspect(guest: Guest): Inspected[] {
  const layer = layersOf(guest)[0]!;
  using fd = openToLook(host.folders, layer.path);
  const { mode } = fd.stat();
  if ((mode & constants.S_IFMT) !== constants.S_IFREG) throw new TypeError("no regular file");
  const storage = classify(mountOf(fd));
  const { identity } = fd;
  const label = host.selinux.readLabel(fd);
  const found = { layer, identity, ...readOwner(fd), label, storage };
  checkHeaders({ guest: guest.name, files: [found], pinnedBy: guest.file, runs: false }, host);
  return [found];
}

/** What stays open while the guest runs: nothing is closed in the time that is measured. */
const kept: OwnedFd[] = [];

async function attach(guest: Guest, qemu: Qemu): Promise<void> {
  const credential = credentialOf(guest);
  const { cgroup } = placeOf(guest.name, host.settings);
  const found = inspect(guest);
  const { operation, level } = grantImages(guest, found, credential, cgroup, host as Host);
  using image = openImage(found[0]!, credential, host.folders);
  labelImage(image, level, host.selinux);
  await passImage(qemu, image, () => []);
  kept.push(image.ro.duplicate(), image.locked.duplicate());
  for (const layers of chainsOf(guest)) await runAll(qemu.monitor, imageGraph(layers, guest));
  host.log.append({ event: "outcome", operation, guest: guest.name, result: "done" });
}

serve(async (line) => {
  const [pid, path, image] = line.split(" ") as [string, string, string];
  using monitor = await Monitor.connect(new OwnedFd(socket(AF_UNIX, SOCK_STREAM), path), path);
  const qemu = { monitor, process: { pid: Number(pid) } } as Qemu;
  const guest = guestWith(image);
  const time = await timed(() => attach(guest, qemu));
  for (const fd of kept.splice(0)) fd[Symbol.dispose]();
  return [time];
});
