/** `add_fd.ts MONITOR FILE`: add-fd through the product's own monitor. A line is a number of them. */

import { AT_FDCWD, openat2 } from "../../../ffi/libc.ts";
import { AF_UNIX, SOCK_STREAM, socket } from "../../../ffi/libc_socket.ts";
import { OwnedFd } from "../../../agent/owned_fd.ts";
import { addFd } from "../../../agent/qmp/fdset.ts";
import { Monitor } from "../../../agent/qmp/monitor.ts";
import { serve, timed } from "./serve.ts";

const FDSET = 1;
const [path, file] = process.argv.slice(2) as [string, string];
const fd = new OwnedFd(openat2(AT_FDCWD, file, { flags: 0, resolve: 0n }), file);
const monitor = await Monitor.connect(new OwnedFd(socket(AF_UNIX, SOCK_STREAM), path), path);

serve(async (line) => {
  const times: number[] = [];
  for (let i = Number(line); i > 0; i--) {
    times.push(await timed(() => addFd(monitor, FDSET, fd, "svirt-agent ro root bench")));
  }
  // QEMU up to 9.0 takes nothing out of a set while the guest does not run.
  await monitor.execute("cont");
  await monitor.execute("remove-fd", { "fdset-id": FDSET });
  await monitor.execute("stop");
  return times;
});
