import type { FrozenImage } from "../../../agent/operation/freeze.ts";
import { descriptorsOf } from "../../../agent/process/descriptor.ts";
import type { Grade } from "../../../agent/label/mount.ts";
import type { GuestVerdict } from "../../../agent/verify/guest.ts";
import type { Decision } from "../../../agent/verify/verdict.ts";
import { svirtAgent } from "../command.ts";
import { avcsOf } from "../audit_log.ts";
import { Holder } from "../holder.ts";
import { claim, type GuestFile, keepsLabels, requireBytes, type Run, USER } from "../world.ts";
import { type Check, check } from "./check.ts";

/**
 * A snapshot with I/O running. The old image can then not be written: not by QEMU, and where labels
 * decide not by a hostile holder either, which kept the read-write descriptor from before.
 */
export async function frozen(run: Run, guest: GuestFile): Promise<Check[]> {
  const { verdict } = await run.call("Verify") as unknown as { verdict: GuestVerdict };
  const { pid, context } = verdict;
  const { identity } = verdict.verdicts.find(({ path }) => path === guest.root)!;
  const heldBefore = descriptorsOf(pid).filter((fd) => fd.identity === identity);
  const writable = heldBefore.find(({ access }) => access === "rw")!;
  using holder = await Holder.start(context, USER);
  const kept = await holder.take(pid, writable.number);
  const child = await holder.ask("fork");
  const couldWrite = await holder.ask(`dwrite ${kept} 0`);
  if (couldWrite !== "4096") throw new Error(`The holder could not write before: ${couldWrite}`);

  const [images] = await Promise.all([freezeRoot(guest.name), writing(run, 8)]);
  const [image] = images;
  await requireBytes(run, "root", image.overlay, "0x5a 8M 64k");

  if (image.verdict === undefined) throw new Error(image.problems.join("; "));
  const top = descriptorsOf(pid).find((fd) => fd.access === "rw" && fd.path === image.overlay)!;
  const overlay = await holder.take(pid, top.number);
  const heldAfter = descriptorsOf(pid).filter((fd) => fd.identity === identity);
  const common = {
    storage: guest.storage,
    guest: guest.name,
    image: `${guest.name}/root`,
    stage: "frozen",
  } as const;
  return [
    check({
      ...common,
      holder: { kind: "guest", pid, context },
      verdict: {
        ...image.verdict.verdict,
        ...(heldAfter.some(({ access }) => access === "rw") && {
          write: { answer: "allowed", by: "other" },
        }),
      },
      expected: { dup: "allowed", open: "denied", read: "allowed", write: "denied", map: "denied" },
      ...(image.grade && { grade: image.grade }),
      witnesses: {
        policy: image.verdict.witnesses.policy,
        guest: heldAfter.map(({ number, access }) => `QEMU's descriptor ${number} is ${access}`),
      },
    }),
    await hostile(holder, kept, overlay, child, guest, common),
  ];
}

/** What the kernel says to a holder that is not QEMU. */
async function hostile(
  holder: Holder,
  kept: number,
  overlay: number,
  child: string,
  guest: GuestFile,
  common: Pick<Check, "storage" | "guest" | "image" | "stage">,
): Promise<Check> {
  const { root } = guest;
  const grade = gradeOf(guest);
  const tried: Record<string, string> = {};
  for (
    const command of [
      `dup ${kept}`,
      `read ${kept} 0 4096`,
      `zwrite ${kept}`,
      `dwrite ${kept} 0`,
      // It was forked while the image could be written.
      `in ${child} dwrite ${kept} 0`,
      `aio ${kept}`,
      `copyrange ${kept}`,
      `ftruncate ${kept} 4096`,
      // Changes the blocks of the frozen file, by an ioctl on the overlay that asks nobody about it.
      `moveext ${overlay} ${kept}`,
      `mmap ${kept} r`,
      `open ${root} ro`,
      `reopen ${kept} rw`,
    ]
  ) {
    // Where nothing keeps it from truncating, it would; the server sees the others
    // when the page cache is written, or not at all.
    if (grade === "cooperative" && command.startsWith("ftruncate")) continue;
    if (grade !== "enforced (label)" && /^(moveext|aio|copyrange)/.test(command)) continue;
    // A write of no bytes never reaches the server.
    if (grade === "enforced (server)" && command.startsWith("zwrite")) continue;
    tried[command] = await holder.ask(command);
  }
  const [, childPid] = (await holder.ask(`in ${child} whoami`)).split(" ");
  const pids = [holder.pid, Number(childPid)];
  const avcs = await avcsOf("any", ({ pid, tclass }) => pids.includes(pid!) && tclass === "file");
  claim(avcs.map(({ serial }) => serial), "frozen: hostile holder");
  const decided = (by: Decision["by"], ...commands: string[]): Decision => {
    const answers = commands.map((command) => tried[command]!);
    if (answers.every((it) => it === "err EACCES")) return { answer: "denied", by };
    if (answers.some((it) => it.startsWith("err"))) return { answer: "unknown", by: "other" };
    return { answer: "allowed", by: "te" };
  };
  const answer = (...commands: string[]) => decided("te", ...commands);
  const writes = Object.keys(tried).filter((it) =>
    /^([dz]write|in|aio|copyrange|ftruncate|moveext)/.test(it)
  );
  const isBySelinux = (command: string) =>
    grade !== "enforced (server)" || !writes.includes(command);
  const denials =
    Object.entries(tried).filter(([command, said]) => said === "err EACCES" && isBySelinux(command))
      .length;
  const row = check({
    ...common,
    holder: { kind: "hostile", pid: holder.pid, context: holder.context },
    verdict: {
      dup: answer(`dup ${kept}`),
      open: answer(`open ${root} ro`, `reopen ${kept} rw`),
      read: answer(`read ${kept} 0 4096`),
      write: decided(grade === "enforced (server)" ? "server" : "te", ...writes),
      map: answer(`mmap ${kept} r`),
    },
    expected: {
      dup: "allowed",
      open: "denied",
      read: "allowed",
      // Without labels and without a fence nothing stops it: the grade is cooperative.
      write: grade === "cooperative" ? "allowed" : "denied",
      map: "denied",
    },
    grade,
    witnesses: {
      guest: Object.entries(tried).map(([command, said]) => `${command}: ${said}`),
      avc: avcs.map(({ serial }) => serial),
    },
  });
  // A refusal that the kernel's log does not know was somebody else's.
  return avcs.length >= denials ? row : { ...row, asExpected: false };
}

/** Who has to keep the frozen image from being written. */
function gradeOf({ storage, fence }: GuestFile): Grade {
  if (keepsLabels(storage)) return "enforced (label)";
  return fence === "owner" ? "enforced (server)" : "cooperative";
}

async function freezeRoot(name: string): Promise<[FrozenImage]> {
  const { status, stdout, stderr } = await svirtAgent("snapshot", "create", name, "root", "--json");
  if (status !== 0) throw new Error(`snapshot create ${name}: exit ${status}: ${stderr}${stdout}`);
  return JSON.parse(stdout).images;
}

/** The guest writes all the while. */
async function writing(run: Run, times: number): Promise<void> {
  for (let i = 0; i < times; i++) {
    await run.io("root", "write -P 0x5a 8M 64k");
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}
