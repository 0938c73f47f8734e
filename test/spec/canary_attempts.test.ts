import assert from "node:assert/strict";
import { chmodSync } from "node:fs";
import { describe, it } from "node:test";
import process from "node:process";
import type { Avc } from "../../agent/audit/avc.ts";
import type { Host } from "../../agent/host.ts";
import { openImage } from "../../agent/image/open.ts";
import { parseContext } from "../../agent/label/context.ts";
import type { Qemu } from "../../agent/process/qemu.ts";
import { QmpError } from "../../agent/qmp/monitor.ts";
import { tryCanary } from "../../agent/verify/canary_attempts.ts";
import type { CanaryAttempt } from "../../agent/verify/canary_report.ts";
import { guestOf, inspected } from "../fakes/guest.ts";
import { FakeHost } from "../fakes/host.ts";

const skip = process.getuid?.() === 0 ? false : "needs root: allowed folders belong to root";

const ROOT = { uid: 0, gid: 0, groups: [] };
const CANARY = 4711;
const LABEL = "system_u:object_r:svirt_fd_image_t:s0:c1,c2";

/** What the kernel makes of the record of a denial; `undefined` where it makes none. */
type Record = (avc: Avc) => Avc | undefined;

/** A canary that is denied whatever its QEMU opens by a name, and a kernel that records it so. */
async function tried(record: Record): Promise<{ asked: unknown[]; attempts: CanaryAttempt[] }> {
  using host = new FakeHost();
  const path = host.file("canary");
  chmodSync(path, 0o600);
  const [found] = inspected(guestOf("web1", { path, cache: "writeback" }), host);
  using file = openImage(found!, ROOT, host.folders);
  const asked: unknown[] = [];
  const records: Avc[] = [];
  const deny = (command: string, denied: string) => {
    const avc = record({
      ...{ serial: records.length + 1, time: 0, denied: [denied], permissive: false },
      ...{ scontext: "u:r:svirt_t:s0:c1,c2", tcontext: LABEL, tclass: "file", pid: CANARY },
      ino: Number(found!.identity.split(":")[2]),
    });
    if (avc !== undefined) records.push(avc);
    throw new QmpError(command, "GenericError", "Could not open: Permission denied");
  };
  /** Writes are denied, too: of a file that is frozen. */
  const execute = (command: string, args: { filename?: string } = {}): Promise<unknown> => {
    asked.push(args.filename ?? command);
    return Promise.resolve().then(() => {
      if (command === "blockdev-add" && !args.filename!.startsWith("/dev/fdset/")) {
        deny(command, "open");
      }
      if (command === "blockdev-backup") deny(command, "write");
      return {};
    });
  };
  const avcs = {
    during: async <T>(matches: (avc: Avc) => boolean, provoke: () => Promise<T>) => {
      records.splice(0);
      return { result: await provoke(), avc: records.find(matches) };
    },
  };
  const policy: Host["policy"] = {
    access: () => ({ permissive: false, decide: () => ({ answer: "denied", by: "te" }) }),
  };
  const passed = { ro: { fdset: 1, number: 7 }, rw: { fdset: 1, number: 8 } };
  const attempts = await tryCanary(
    { monitor: { execute }, process: { pid: CANARY } } as unknown as Qemu,
    { file, passed, newPath: `${path}-new` },
    ["frozen", parseContext(LABEL)],
    ROOT,
    { ...host, avcs: avcs as unknown as Host["avcs"], policy },
  );
  return { asked: asked.map((it) => it === path ? "PATH" : it), attempts };
}

const rows = (attempts: readonly CanaryAttempt[]) =>
  attempts.map(({ by, decision, asExpected }) =>
    [by, decision.answer, decision.by, asExpected].join(" ")
  );

describe("what a canary is said to have tried", { skip }, () => {
  it("its QEMU was asked for, each once", async () => {
    const { asked } = await tried((avc) => avc);
    assert.deepEqual(asked, [
      ...["/dev/fdset/1", "blockdev-del", "PATH", "/proc/self/fd/7"],
      "blockdev-backup",
    ]);
  });

  it("was denied by SELinux where the kernel has a record of it", async () => {
    const { attempts } = await tried((avc) => avc);
    assert.deepEqual(rows(attempts), [
      "fdset allowed te true",
      "path denied te true",
      "proc-fd denied te true",
      "write denied te true",
    ]);
    assert.ok(attempts.every(({ by, avc }) => (avc !== undefined) === (by !== "fdset")));
  });

  for (
    const [what, record] of [
      ["no record", () => undefined],
      ["a record of another process, as the guest's own QEMU", (avc) => ({ ...avc, pid: 1 })],
      ["a record about another file", (avc) => ({ ...avc, ino: 1 })],
      ["a record of another permission", (avc) => ({ ...avc, denied: ["getattr"] })],
      ["a record of what was allowed all the same", (avc) => ({ ...avc, permissive: true })],
    ] as [string, Record][]
  ) {
    it(`is no proof with ${what}`, async () => {
      const { attempts } = await tried(record);
      assert.deepEqual(rows(attempts), [
        "fdset allowed te true",
        ...["path", "proc-fd", "write"].map((by) => `${by} denied unknown false`),
      ]);
      assert.ok(attempts.every(({ avc }) => avc === undefined));
    });
  }
});
