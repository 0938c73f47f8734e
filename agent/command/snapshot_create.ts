import { resolve } from "node:path";
import type { FrozenImage } from "../operation/freeze.ts";
import { type Arguments, EXIT } from "./command.ts";
import { askGuard } from "./control.ts";
import type { Terminal } from "./terminal.ts";

/** Freezes images of a running guest. */
export async function run(args: Arguments, terminal: Terminal): Promise<number> {
  const [guest, ...names] = args.operands as [string, ...string[]];
  const overlayIn = args.options["overlay-in"] as string | undefined;
  const folder = overlayIn === undefined ? {} : { overlayIn: resolve(overlayIn) };
  const reply = await askGuard(args, guest, "SnapshotCreate", { images: names, ...folder });
  const images = reply["images"] as FrozenImage[];
  if (args.options["json"] === true) {
    terminal.out(JSON.stringify({ schemaVersion: 1, guest, images }, null, 2));
  } else {
    for (const { image, path, overlay, grade, pending, verdict, problems } of images) {
      terminal.out(
        `${guest}/${image}: ${path} is frozen: ${grade ?? (pending ? "pending" : "NOT REVOKED")}`,
      );
      const write = verdict?.verdict.write;
      if (write !== undefined) terminal.out(`  write: ${write.answer} (${write.by})`);
      if (pending) {
        terminal.out(
          "  pending: QEMU keeps the descriptor that could write it while it is paused;",
        );
        terminal.out("  the agent takes that away once the guest runs");
      }
      terminal.out(`  the guest now writes ${overlay}`);
      for (const problem of problems) terminal.err(`  ${problem}`);
    }
    terminal.err(pinned(images));
  }
  return images.every(({ grade }) => grade !== undefined) ? EXIT.asExpected : EXIT.finding;
}

/** The next `run` of the guest file as it is would write the frozen file. */
function pinned(images: readonly FrozenImage[]): string {
  return [
    "Before the guest is started again, put the new chain into its file:",
    ...images.map(({ image, overlay, path }) =>
      `  ${image}: path = "${overlay}", format = "qcow2", and first in backing: "${path}"`
    ),
  ].join("\n");
}
