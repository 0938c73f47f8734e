/**
 * `svirt-agent run`, the command itself, with two things on top for tests: its control socket lets
 * the guest's QEMU read and write its images (only one monitor can be connected), and it can be told
 * to die by SIGKILL, to get another signal, or to kill its guest's QEMU, after a step. Runs in the
 * agent's own domain.
 *
 * @module
 */

import { UsageError } from "../../agent/command/command.ts";
import { exitStatusOf } from "../../agent/command/exit_status.ts";
import { findCommand } from "../../agent/command/find.ts";
import { parse } from "../../agent/command/parse.ts";
import { run } from "../../agent/command/run.ts";
import { terminal } from "../../agent/command/terminal.ts";
import { readGuest } from "../../agent/config/guest_file.ts";
import { onStep } from "../../agent/io/step.ts";
import { cgroupOf, membersOf } from "../../agent/process/cgroup.ts";
import { guestInterface } from "../../agent/service/guest_interface.ts";
import type { Interface } from "../../agent/service/varlink.ts";
import { guestIo } from "./guest_io.ts";

/** `attach:label`: gets the signal once this step is done. */
const DIE_AFTER = process.env["SVIRT_TEST_DIE_AFTER"];
const SIGNAL = process.env["SVIRT_TEST_SIGNAL"] ?? "SIGKILL";

/** `snapshot:reopen`: kill QEMU once this step is done. */
const KILL_QEMU_AFTER = process.env["SVIRT_TEST_KILL_QEMU_AFTER"];

onStep((operation, step) => {
  if (`${operation}:${step}` === DIE_AFTER) process.kill(process.pid, SIGNAL);
});

function killQemuOf(guest: string): void {
  onStep((operation, step) => {
    if (`${operation}:${step}` !== KILL_QEMU_AFTER) return;
    for (const pid of membersOf(cgroupOf(guest))) process.kill(pid, "SIGKILL");
  });
}

function withGuestIo(...args: Parameters<typeof guestInterface>): Interface {
  const offered = guestInterface(...args);
  const { monitor } = args[0].qemu;
  return {
    ...offered,
    methods: {
      ...offered.methods,
      /** HMP `qemu-io` on a device: what the guest itself would read or write. */
      Io: async ({ image, command }) => ({
        said: await monitor.execute(...guestIo(String(image), String(command))),
      }),
      /** Any QMP command. */
      Qmp: async ({ execute, arguments: args }) => ({
        said: await monitor.execute(execute as string, args as Record<string, unknown>),
      }),
    },
  };
}

try {
  const { command, rest } = findCommand(process.argv.slice(2));
  if (command.name !== "run") throw new UsageError("Only run", "The rest is svirt-agent");
  const args = parse(command, rest);
  killQemuOf(readGuest(args.operands[0]!).name);
  process.exitCode = await run(args, terminal, withGuestIo);
} catch (error) {
  const { message, hint } = error as Error & { hint?: string };
  terminal.err(`svirt-agent: ${message}`);
  if (hint !== undefined) terminal.err(`  hint: ${hint}`);
  process.exitCode = exitStatusOf(error as Error);
}
