import { attach } from "../attach.ts";
import type { AttachedGuest } from "../attached_guest.ts";
import { readGuest } from "../config/guest_file.ts";
import type { Guest } from "../guest.ts";
import type { Host } from "../host.ts";
import { inspectImages } from "../image/inspect.ts";
import { onStep } from "../io/step.ts";
import { formatContext } from "../label/context.ts";
import { requireEnforcing } from "../label/ready.ts";
import { detach } from "../operation/detach.ts";
import { recover } from "../operation/recover.ts";
import { placeOf } from "../process/place.ts";
import { guestInterface } from "../service/guest_interface.ts";
import { serve } from "../service/varlink.ts";
import { type Arguments, EXIT } from "./command.ts";
import { openHost } from "./open_host.ts";
import { planOf } from "./plan.ts";
import { ownLock } from "./own_lock.ts";
import type { Terminal } from "./terminal.ts";

/** Starts one guest, guards it, stops with it. */
export async function run(args: Arguments, terminal: Terminal): Promise<number> {
  const guest = readGuest(args.operands[0]!);
  using host = openHost(args, terminal, { announce: args.options["dry-run"] !== true });
  if (args.options["dry-run"] === true) {
    requireEnforcing(host.selinux);
    for (const line of planOf(guest, inspectImages(guest, host.folders, host.selinux), host)) {
      terminal.out(line);
    }
    return EXIT.asExpected;
  }
  using _alone = ownLock(guest.name, host);
  const stopListening = onStep((operation, step) =>
    terminal.err(`${guest.name}: ${operation}: ${step}`)
  );
  try {
    for (const did of await recover(guest.name, host, { stop: false })) {
      terminal.err(`${guest.name}: recovered: ${did}`);
    }
    using attached = await attach(guest, host);
    return await guard(attached, host, terminal);
  } finally {
    stopListening();
  }
}

/** Lets the guest run until it ends or somebody wants it to. */
async function guard(attached: AttachedGuest, host: Host, terminal: Terminal): Promise<number> {
  const { guest, qemu, context } = attached;
  const stop = Promise.withResolvers<string>();
  const onSignal = (signal: string) => stop.resolve(signal);
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, onSignal);
  const control = serve(
    placeOf(guest.name, host.settings).control,
    guestInterface(attached, host, () => stop.resolve("stop")),
    [context.type],
  );
  let why: string;
  try {
    await qemu.monitor.execute("cont");
    terminal.err(
      `${guest.name}: runs as pid ${qemu.process.pid}, ${formatContext(context)}; Ctrl-C stops it`,
    );
    why = await Promise.race([qemu.process.ended.then((end) => `QEMU: ${end}`), stop.promise]);
  } finally {
    control[Symbol.dispose]();
    await end(guest, attached, host, terminal);
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.off(signal, onSignal);
  }
  terminal.err(`${guest.name}: ended (${why})`);
  const failed = why.startsWith("QEMU: ") && why !== "QEMU: exit 0";
  if (failed && qemu.process.lastWords !== "") terminal.err(qemu.process.lastWords);
  return failed ? EXIT.unknown : EXIT.asExpected;
}

async function end(guest: Guest, { qemu }: AttachedGuest, host: Host, terminal: Terminal) {
  const quit = () => qemu.monitor.execute("quit");
  const did = await detach(guest.name, host, qemu.process.end === undefined ? quit : undefined);
  for (const line of did) terminal.err(`${guest.name}: ${line}`);
}
