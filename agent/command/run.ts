import { attach } from "../attach.ts";
import type { AttachedGuest } from "../attached_guest.ts";
import { readGuest } from "../config/guest_file.ts";
import type { Host } from "../host.ts";
import { inspectImages } from "../image/inspect.ts";
import { onStep } from "../io/step.ts";
import { describeBooleanPlan, planBoolean } from "../label/boolean_plan.ts";
import { formatContext } from "../label/context.ts";
import { requireEnforcing } from "../label/ready.ts";
import { closeStorage } from "../operation/close_storage.ts";
import { detach } from "../operation/detach.ts";
import { recover } from "../operation/recover.ts";
import { settle } from "../operation/settle.ts";
import { Turns } from "../operation/turns.ts";
import { whyFailed } from "../operation/why_failed.ts";
import { watchOpening } from "../service/opening_watch.ts";
import { guestInterface } from "../service/guest_interface.ts";
import { watchRemovals } from "../service/removal_watch.ts";
import { serve } from "../service/varlink.ts";
import { type Arguments, EXIT } from "./command.ts";
import { hostUse } from "./host_use.ts";
import { Interrupt } from "./interrupt.ts";
import { openHost } from "./open_host.ts";
import { planOf } from "./plan.ts";
import { ownLock } from "./own_lock.ts";
import type { Terminal } from "./terminal.ts";

/** Starts one guest, guards it, stops with it. */
export async function run(
  args: Arguments,
  terminal: Terminal,
  offer: typeof guestInterface = guestInterface,
): Promise<number> {
  const guest = readGuest(args.operands[0]!);
  using host = openHost(args, terminal, { announce: args.options["dry-run"] !== true });
  if (args.options["dry-run"] === true) {
    requireEnforcing(host.selinux);
    for (const line of planOf(guest, inspectImages(guest, host), host)) {
      terminal.out(line);
    }
    return EXIT.asExpected;
  }
  using _alone = ownLock(guest.name, host);
  using interrupt = new Interrupt();
  const stopListening = onStep((operation, step) =>
    terminal.err(`${guest.name}: ${operation}: ${step}`)
  );
  try {
    for (const did of await recover(guest.name, host, { stop: false })) {
      terminal.err(`${guest.name}: recovered: ${did}`);
    }
    if (args.options["yes"] === true || host.settings.boolean === "off") {
      requireEnforcing(host.selinux);
      const found = inspectImages(guest, host);
      closeStorage(found.map(({ storage }) => storage), host, (boolean) => {
        const plan = planBoolean(boolean, false, hostUse(host.log.state));
        for (const line of describeBooleanPlan(plan)) terminal.err(`${guest.name}: ${line}`);
      });
    }
    using attached = await attach(guest, host);
    return await guard(attached, host, terminal, interrupt, offer);
  } finally {
    stopListening();
  }
}

/** Lets the guest run until it ends or somebody wants it to, and takes everything away from it. */
async function guard(
  attached: AttachedGuest,
  host: Host,
  terminal: Terminal,
  interrupt: Interrupt,
  offer: typeof guestInterface,
): Promise<number> {
  const { guest, place, qemu, context } = attached;
  const wanted = Promise.withResolvers<string>();
  const stopped = Promise.withResolvers<void>();
  interrupt.signal.then(wanted.resolve);
  const stop = () => {
    wanted.resolve("stop");
    return stopped.promise;
  };
  const turns = new Turns();
  const guarding: Disposable[] = [];
  let why = "failure";
  try {
    for (const text of new Set(attached.images.flatMap(({ storage }) => storage.findings))) {
      terminal.err(`${guest.name}: ${text}`);
    }
    guarding.push(serve(place.control, offer(attached, host, stop, turns), [context.type]));
    guarding.push(watchOpening(attached, host, (what) => {
      terminal.err(`${guest.name}: ${what}`);
      if (host.settings.onBooleanOn === "stop-guest") wanted.resolve(what);
    }));
    guarding.push(watchRemovals(attached, host, (text) => {
      terminal.err(`${guest.name}: ${text}`);
    }));
    await qemu.monitor.execute("cont").catch(async (error) => {
      throw await whyFailed(error, qemu.process);
    });
    terminal.err(
      `${guest.name}: runs as pid ${qemu.process.pid}, ${formatContext(context)}; Ctrl-C stops it`,
    );
    why = await Promise.race([qemu.process.ended.then((end) => `QEMU: ${end}`), wanted.promise]);
  } finally {
    try {
      await end(attached, turns, host, terminal, stopped);
    } finally {
      // Whoever asked for it gets an answer before the socket is gone.
      await new Promise((resolve) => setTimeout(resolve, 0));
      for (const it of guarding) it[Symbol.dispose]();
    }
  }
  terminal.err(`${guest.name}: ended (${why})`);
  if (!why.startsWith("QEMU: ") || why === "QEMU: exit 0") return EXIT.asExpected;
  if (qemu.process.lastWords !== "") terminal.err(qemu.process.lastWords);
  return EXIT.unknown;
}

/** Takes everything away from the guest, and tells whoever asked for it. */
async function end(
  { guest, qemu, images }: AttachedGuest,
  turns: Turns,
  host: Host,
  terminal: Terminal,
  stopped: PromiseWithResolvers<void>,
): Promise<void> {
  const quit = qemu.process.end === undefined ? () => qemu.monitor.execute("quit") : undefined;
  try {
    const held = () => images.map(({ ro }) => ro);
    const did = await detach(guest.name, host, { ...(quit && { quit }), held, turns });
    did.push(...settle(guest.name, host));
    for (const line of did) terminal.err(`${guest.name}: ${line}`);
    stopped.resolve();
  } catch (error) {
    stopped.promise.catch(() => {});
    stopped.reject(error);
    throw error;
  }
}
