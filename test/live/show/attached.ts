import { readFileSync } from "node:fs";
import { EXPECTED_OF_OTHERS } from "../../../agent/verify/expected.ts";
import type { GuestVerdict } from "../../../agent/verify/guest.ts";
import type { Attempt } from "../../../agent/verify/through_guest.ts";
import { claim, type GuestFile, requireBytes, type Run } from "../world.ts";
import { type Check, check } from "./check.ts";

/**
 * The guest has its images by descriptor: each can be used and none opened, neither its own nor
 * anybody else's, and the kernel has recorded every refusal.
 */
export async function attached(
  run: Run,
  own: Pick<GuestFile, "name" | "storage">,
  other?: GuestFile,
): Promise<Check[]> {
  const others = other === undefined ? [] : [other.root, other.data];
  const reply = await run.call("Verify", { throughGuest: true, others });
  const verdict = reply["verdict"] as GuestVerdict;
  const attempts = reply["attempts"] as Attempt[];
  claim(attempts.flatMap(({ avc }) => avc?.serial ?? []), `${own.name}: through the guest`);
  const holder = { kind: "guest", pid: verdict.pid, context: verdict.context } as const;
  const common = { storage: own.storage, guest: own.name, stage: "attached", holder } as const;

  const mine = verdict.verdicts.map((image): Check => {
    const tried = attempts.filter((attempt) => attempt.image === image.image);
    // dup and open as QEMU met them; the rest as the policy answers.
    const answers = tried.map(({ by, decision }) => ({ by, decision }));
    const dup = answers.find(({ by }) => by === "fdset")?.decision;
    const opens = answers.filter(({ by }) => by !== "fdset").map(({ decision }) => decision);
    const open = opens.find(({ answer }) => answer !== "denied") ?? opens[0];
    return check({
      ...common,
      image: `${own.name}/${image.image}`,
      verdict: { ...image.verdict, ...(dup && { dup }), ...(open && { open }) },
      expected: image.expected,
      ...(image.grade && { grade: image.grade }),
      witnesses: witnessesOf(tried, image.witnesses.policy),
    });
  });
  const theirs = others.map((path): Check => {
    const tried = attempts.filter((attempt) => attempt.path === path);
    return check({
      ...common,
      image: `${other?.name}/${path === other?.root ? "root" : "data"}`,
      verdict: { open: tried[0]!.decision },
      expected: EXPECTED_OF_OTHERS,
      witnesses: witnessesOf(tried),
    });
  });
  const all = [...mine, ...theirs];
  // Denied without the kernel's record would be QEMU's word alone.
  return all.map((row) => row.witnesses.avc?.length ? row : { ...row, asExpected: false });
}

function witnessesOf(
  attempts: readonly Attempt[],
  policy?: Check["witnesses"]["policy"],
): Check["witnesses"] {
  return {
    ...(policy && { policy }),
    guest: attempts.map(({ path, said }) => `${path}: ${said ?? "opened"}`),
    avc: attempts.flatMap(({ avc }) => avc?.serial ?? []),
  };
}

/** Writes and reads patterns through QEMU and compares them with what lies on the host. */
export async function patterns(run: Run, { root, data }: GuestFile, byte: number): Promise<void> {
  const hex = `0x${byte.toString(16)}`;
  for (const image of ["root", "data"]) {
    for (const command of [`write -P ${hex} 1M 1M`, "flush"]) await run.io(image, command);
  }
  const raw = readFileSync(data).subarray(1 << 20, 2 << 20);
  if (!raw.every((it) => it === byte)) throw new Error(`${data} does not hold ${hex} on the host`);
  await requireBytes(run, "root", root, `${hex} 1M 1M`, "0xba 4M 1M");
}
