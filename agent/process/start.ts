import { accessSync, constants, mkdirSync, rmSync } from "node:fs";
import { delimiter, join } from "node:path";
import type { Credential } from "../../ffi/libc_process.ts";
import type { Guest } from "../guest.ts";
import { type Context, formatContext } from "../label/context.ts";
import type { Layer } from "../image/layer.ts";
import type { OpenImage } from "../image/open.ts";
import type { Selinux } from "../label/selinux.ts";
import { createSocketAt } from "../label/socket.ts";
import { Monitor } from "../qmp/monitor.ts";
import { coldArguments, inheritedArguments, inheritedOf } from "../qmp/cold.ts";
import { portArguments } from "../qmp/port.ts";
import { createCgroup } from "./cgroup.ts";
import { FIRST_INHERITED, type QemuPlace } from "./place.ts";
import { QemuProcess } from "./launch.ts";
import type { Qemu } from "./qemu.ts";
import { HintedError } from "../hinted_error.ts";

/** QEMU could not be started, or died before it answered. */
export class StartError extends HintedError {
  override readonly name = "StartError";
}

/** A QEMU to start: what of its command line is its own. */
export interface QemuCommand {
  /** How it shows in lists of processes. */
  readonly name: string;
  /** Absolute path, or a name that is looked up in PATH. */
  readonly binary: string;
  readonly accelerator: Guest["qemu"]["accelerator"];
  /** The machine and all that belongs to it; no files. */
  readonly args: readonly string[];
}

/**
 * The command of a guest: its file's arguments, what cannot be plugged in later, and ports.
 *
 * @param layers As they were found.
 */
export function guestCommand(guest: Guest, layers?: readonly Layer[]): QemuCommand {
  const { name, qemu: { binary, accelerator, args } } = guest;
  return {
    name,
    binary,
    accelerator,
    args: [...args, ...coldArguments(guest, layers), ...portArguments(guest)],
  };
}

/** What every QEMU of ours gets whatever a guest's file says. */
const ALWAYS = [
  "-no-user-config",
  "-nodefaults",
  // Not yet: it runs when its images are attached and verified.
  "-S",
  "-sandbox",
  "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
  "-chardev",
  "socket,id=svirt-agent,fd=%MONITOR%,server=on,wait=off",
  "-mon",
  "chardev=svirt-agent,mode=control",
];

/**
 * Starts QEMU as an unprivileged user, in a guest's context and a cgroup of its own, and connects
 * its monitor. It has no image but those that cannot be added later.
 *
 * @param opened Lent; only descriptors of such images are inherited.
 * @throws {@linkcode StartError} with QEMU's last words.
 */
export async function startQemu(
  { name, binary, accelerator, args }: QemuCommand,
  credential: Credential,
  context: Context,
  place: QemuPlace,
  selinux: Selinux,
  opened: readonly OpenImage[] = [],
): Promise<Qemu> {
  const path = findBinary(binary);
  const inherited = inheritedOf(opened);
  createCgroup(place.cgroup);
  mkdirSync(place.folder, { recursive: true, mode: 0o700 });
  for (const path of [place.monitor, place.console]) rmSync(path, { force: true });
  const process = QemuProcess.start({
    cgroupProcs: place.cgroup.procs,
    context: formatContext(context),
    monitor: place.monitor,
    console: place.console,
    credential,
    binary: path,
    inherited: inherited.length,
    argv: [
      ...[path, "-name", name, "-accel", accelerator, ...ALWAYS],
      ...inheritedArguments(inherited, FIRST_INHERITED),
      ...args,
    ],
    env: ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"],
  }, inherited.map(({ fd }) => fd));
  try {
    const monitor = await greet(process, place.monitor, context.level ?? "s0");
    requireContext(process.pid, context, selinux);
    return {
      process,
      monitor,
      [Symbol.dispose]() {
        monitor[Symbol.dispose]();
        process[Symbol.dispose]();
        for (const path of [place.monitor, place.console]) rmSync(path, { force: true });
      },
    };
  } catch (error) {
    process.signal("SIGKILL");
    await process.ended;
    process[Symbol.dispose]();
    throw error;
  }
}

/** Connects as soon as the launcher listens; ends at once when QEMU dies first. */
async function greet(process: QemuProcess, path: string, level: string): Promise<Monitor> {
  const died = process.ended.then((end) => {
    throw new StartError(
      `QEMU died at start (${end}): ${process.lastWords || "it said nothing"}`,
      "Try the same command line by hand; SELinux denials: ausearch -m AVC -ts recent",
    );
  });
  const connected = connectWhenListening(process, path, level);
  // Whoever loses must not be an unhandled rejection.
  connected.then((monitor) => process.end && monitor[Symbol.dispose](), () => {});
  try {
    return await Promise.race([connected, died]);
  } catch (error) {
    // A monitor that closes is how a dying QEMU looks from here: its last words tell more.
    if (error instanceof StartError) throw error;
    await Promise.race([died, new Promise((resolve) => setTimeout(resolve, 500))]);
    throw error;
  }
}

async function connectWhenListening(
  process: QemuProcess,
  path: string,
  level: string,
): Promise<Monitor> {
  const deadline = Date.now() + 30_000;
  for (;;) {
    try {
      return await Monitor.connect(createSocketAt(level, path), path);
    } catch (error) {
      // The socket's file is there from bind(2) on, and refuses until listen(2).
      const isEarly = ["ENOENT", "ECONNREFUSED"].includes((error as { code?: string }).code ?? "");
      if (!isEarly || process.end !== undefined) throw error;
    }
    if (Date.now() > deadline) {
      throw new StartError(`The launcher did not come up within 30 s`, process.lastWords);
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Whatever was asked for, this is what counts: the context that the kernel gave it. */
function requireContext(pid: number, wanted: Context, selinux: Selinux): void {
  const is = selinux.processContext(pid);
  if (is !== undefined && formatContext(is) === formatContext(wanted)) return;
  const has = is === undefined ? "is gone" : `runs as ${formatContext(is)}`;
  throw new StartError(
    `QEMU ${has}, not as ${formatContext(wanted)}`,
    "The policy has no transition from the agent to this domain. Is the svirt_agent module loaded?",
  );
}

function findBinary(binary: string): string {
  const path = process.env["PATH"] ?? "/usr/sbin:/usr/bin:/sbin:/bin";
  const candidates = binary.includes("/")
    ? [binary]
    : path.split(delimiter).map((folder) => join(folder, binary));
  for (const candidate of candidates) {
    try {
      accessSync(candidate, constants.X_OK);
      return candidate;
    } catch {
      continue;
    }
  }
  throw new StartError(`There is no ${binary}`, "Install QEMU, or correct qemu.binary.");
}
