/**
 * Guests as people run them: UEFI variables, CD drives, caches of all kinds, transient disks, many disks.
 *
 * @module
 */

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { descriptorsOf } from "../../agent/process/descriptor.ts";
import { processContexts } from "../../agent/process/contexts.ts";
import type { FrozenImage } from "../../agent/operation/freeze.ts";
import type { GuestVerdict } from "../../agent/verify/guest.ts";
import { must, svirtAgent } from "./command.ts";
import {
  FROM_BOOT,
  logState,
  prepareHost,
  requireBytes,
  Run,
  STORAGE,
  writeGuest,
} from "./world.ts";

const MACHINE = ["-machine", "q35", "-m", "32", "-display", "none"];
const O_DIRECT = 0o40000;

/** Starts a guest with these keys of its images. */
async function start(
  name: string,
  images: readonly Readonly<Record<string, unknown>>[],
  args: readonly string[] = MACHINE,
): Promise<Run> {
  return await new Run(name, await writeGuest(name, images, args)).running();
}

/** An image of zeroes. */
async function make(path: string, size: string, format = "raw"): Promise<string> {
  await must("qemu-img", "create", "-q", "-f", format, path, size);
  return path;
}

async function verify(run: Run): Promise<GuestVerdict> {
  return (await run.call("Verify"))["verdict"] as GuestVerdict;
}

/** Guest I/O on a block node; fails where qemu-io does. */
async function nodeIo(run: Run, node: string, text: string): Promise<void> {
  const line = `qemu-io ${node} "${text}"`;
  const { said } = await run.call("Qmp", {
    execute: "human-monitor-command",
    arguments: { "command-line": line },
  });
  assert.doesNotMatch(String(said), /fail|error|denied|permission/i, `${line}: ${said}`);
}

/** Flags of QEMU's descriptors of a file, as /proc/PID/fdinfo shows them. */
function flagsOf(pid: number, path: string): number[] {
  return descriptorsOf(pid).filter((fd) => fd.path === path).map(({ number }) => {
    const text = readFileSync(`/proc/${pid}/fdinfo/${number}`, "utf8");
    return parseInt(/^flags:\s*([0-7]+)/m.exec(text)![1]!, 8);
  });
}

async function requireGivenBack(...paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    const [uid, label] = (await must("stat", "-c", "%u %C", path)).trim().split(" ");
    assert.equal(uid, "0", path);
    assert.doesNotMatch(label!, /svirt_fd/, path);
  }
}

before(() => prepareHost());

for (const storage of FROM_BOOT) {
  describe(`cache modes on ${storage}`, () => {
    const folder = STORAGE[storage];
    const modes = ["none", "writeback", "writethrough"] as const;
    let run: Run, pid: number;
    before(async () => {
      const images = [];
      for (const cache of modes) {
        const path = await make(`${folder}/cache-${cache}.raw`, "8M");
        images.push({ name: cache, path, format: "raw", cache });
      }
      run = await start("cache", images);
      pid = (await verify(run)).pid;
    });
    after(() => run?.process.kill("SIGKILL"));

    for (const [i, cache] of modes.entries()) {
      it(`${cache}: what the guest writes it reads, and the host sees`, async () => {
        const path = `${folder}/cache-${cache}.raw`, byte = 0x51 + i;
        const refused = /fail|error|denied/i;
        for (const text of [`write -P ${byte} 1M 64k`, `read -P ${byte} 1M 64k`, "flush"]) {
          assert.doesNotMatch(await run.io(cache, text), refused);
        }
        const host = readFileSync(path).subarray(1 << 20, (1 << 20) + 65536);
        assert.ok(host.every((it) => it === byte));
      });

      it(`${cache}: O_DIRECT is ${cache === "none" ? "" : "not "}set on each descriptor`, () => {
        const flags = flagsOf(pid, `${folder}/cache-${cache}.raw`);
        assert.ok(flags.length >= 2, `${flags}`);
        for (const it of flags) {
          assert.equal((it & O_DIRECT) !== 0, cache === "none", it.toString(8));
        }
      });
    }

    it("none but writethrough hands each write to the disk before it is done", async () => {
      for (const cache of modes) {
        const { said } = await run.call("Qmp", {
          execute: "qom-get",
          arguments: { path: `/machine/peripheral/${cache}-device`, property: "write-cache" },
        });
        assert.equal(said, cache === "writethrough" ? "off" : "on", cache);
      }
    });

    it("gives everything back", async () => {
      assert.equal(await run.stop(), 0, run.output);
      await requireGivenBack(...modes.map((cache) => `${folder}/cache-${cache}.raw`));
    });
  });
}

describe("an ISO image that two guests share", () => {
  const iso = `${STORAGE.ext4}/setup.iso`;
  let runs: Run[] = [];
  before(async () => {
    writeFileSync(iso, new Uint8Array(4 << 20).fill(0xcd), { mode: 0o644 });
    runs = await Promise.all(
      (["ide-cd", "scsi-cd"] as const).map((device) =>
        start(device, [{
          name: "cd",
          path: iso,
          format: "raw",
          access: "ro",
          device,
          shared: true,
        }])
      ),
    );
  });
  after(() => runs.forEach((run) => run.process.kill("SIGKILL")));

  it("is in each guest's drive, and each reads it", async () => {
    for (const run of runs) {
      await nodeIo(run, "cd", "read -P 0xcd 1M 64k");
      const { said } = await run.call("Qmp", { execute: "query-block" });
      const [drive] = said as { qdev: string; removable: boolean; inserted: { ro: boolean } }[];
      assert.deepEqual(
        [drive!.qdev, drive!.removable, drive!.inserted.ro],
        [drive!.qdev.startsWith("/") ? drive!.qdev : "cd-device", true, true],
      );
    }
  });

  it("is written by nobody and opened by nobody", async () => {
    for (const run of runs) {
      const { verdicts: [cd], asExpected, pid } = await verify(run);
      assert.ok(asExpected);
      assert.equal(cd!.label, "system_u:object_r:svirt_fd_ro_t:s0");
      assert.deepEqual(cd!.verdict.write, { answer: "denied", by: "te" });
      assert.deepEqual(cd!.verdict.open, { answer: "denied", by: "te" });
      assert.ok(flagsOf(pid, iso).every((flags) => (flags & 3) === 0));
    }
  });

  it("is refused to a guest that does not share it, by name", async () => {
    const file = await writeGuest("alone", [
      { name: "cd", path: iso, format: "raw", access: "ro", device: "ide-cd" },
    ], MACHINE);
    const { status, stderr } = await svirtAgent("run", file);
    assert.equal(status, 1, stderr);
    assert.match(stderr, /the guest file of alone does not share it/);
  });

  it("gets its label back with the last of them", async () => {
    assert.equal(await runs[0]!.stop(), 0, runs[0]!.output);
    assert.match(await must("stat", "-c", "%C", iso), /svirt_fd_ro_t:s0/);
    await nodeIo(runs[1]!, "cd", "read -P 0xcd 2M 64k");
    assert.equal(await runs[1]!.stop(), 0, runs[1]!.output);
    await requireGivenBack(iso);
  });
});

describe("UEFI firmware and its variables", () => {
  const code = `${STORAGE.ext4}/OVMF_CODE_4M.fd`, vars = `${STORAGE.ext4}/uefi-vars.fd`;
  const CONSOLE = ["-chardev", "ringbuf,id=com1,size=65536", "-serial", "chardev:com1"];
  const flash = (more: Readonly<Record<string, unknown>>) => ({
    format: "raw",
    device: "pflash",
    ...more,
  });
  let run: Run;
  before(async () => {
    // As an administrator puts them there: the firmware for all guests, variables for each.
    // Not install(1), which would give them the label that the policy has for /srv.
    await must("cp", "/usr/share/OVMF/OVMF_CODE_4M.fd", code);
    await must("cp", "/usr/share/OVMF/OVMF_VARS_4M.fd", vars);
    run = await start("uefi", [
      flash({ name: "code", path: code, access: "ro", shared: true }),
      flash({ name: "vars", path: vars }),
    ], ["-machine", "q35", "-m", "128", "-display", "none", ...CONSOLE]);
  });
  after(() => run?.process.kill("SIGKILL"));

  it("are inherited, not opened: the code read-only, the variables to write", async () => {
    const { verdicts, asExpected, pid } = await verify(run);
    assert.ok(asExpected);
    assert.deepEqual(verdicts.map(({ image, verdict: { open, write } }) => [image, open, write]), [
      ["code", { answer: "denied", by: "te" }, { answer: "denied", by: "te" }],
      ["vars", { answer: "denied", by: "te" }, { answer: "allowed", by: "te" }],
    ]);
    assert.ok(flagsOf(pid, code).length > 0);
    assert.ok(flagsOf(pid, code).every((flags) => (flags & 3) === 0));
    assert.ok(flagsOf(pid, vars).some((flags) => (flags & 3) === 2));
  });

  it("work: the firmware starts, and stores its variables", async (t) => {
    const from = performance.now();
    const template = readFileSync("/usr/share/OVMF/OVMF_VARS_4M.fd");
    let seen = "";
    while (!/BdsDxe|Shell>/.test(seen)) {
      assert.ok(performance.now() - from < 300_000, `the firmware did not start: ${seen}`);
      await new Promise((resolve) => setTimeout(resolve, 500));
      const { said } = await run.call("Qmp", {
        execute: "ringbuf-read",
        arguments: { device: "com1", size: 65536 },
      });
      seen += String(said);
    }
    t.diagnostic(`it is there after ${((performance.now() - from) / 1000).toFixed(1)} s`);
    assert.notDeepEqual(readFileSync(vars), template);
    assert.deepEqual(readFileSync(code), readFileSync("/usr/share/OVMF/OVMF_CODE_4M.fd"));
  });

  it("can be frozen: the variables, in an overlay of their own", async () => {
    const { status, stdout, stderr } = await svirtAgent("snapshot", "create", "uefi", "--json");
    assert.equal(status, 0, stderr);
    const [image, ...more] = JSON.parse(stdout).images as FrozenImage[];
    assert.deepEqual([image!.image, image!.grade, more], ["vars", "enforced (label)", []]);
  });

  it("are given back", async () => {
    assert.equal(await run.stop(), 0, run.output);
    await requireGivenBack(code, vars);
  });
});

for (const storage of FROM_BOOT) {
  describe(`a transient disk on ${storage}`, () => {
    const folder = `${STORAGE[storage]}`, path = `${folder}/golden.raw`;
    const golden = new Uint8Array(4 << 20).fill(0x60);
    const image = { name: "root", path, format: "raw", transient: true, shared: true };
    let runs: Run[] = [];
    const overlays = async () =>
      (await must("sh", "-c", `ls ${folder} | grep '^golden\\.2' || true`)).split("\n").filter(
        Boolean,
      );
    before(async () => {
      writeFileSync(path, golden, { mode: 0o644 });
      runs = [await start("kiosk1", [image]), await start("kiosk2", [image])];
    });
    after(() => runs.forEach((run) => run.process.kill("SIGKILL")));

    it("is written by each of two guests on their own, and the file never", async () => {
      for (const [i, run] of runs.entries()) {
        const { verdicts: [top] } = await verify(run);
        await requireBytes(run, "root", top!.path, "0x60 1M 64k");
        await run.io("root", `write -P ${0x71 + i} 1M 64k`);
        await requireBytes(run, "root", top!.path, `${0x71 + i} 1M 64k`, "0x60 0 64k");
      }
      assert.deepEqual(new Uint8Array(readFileSync(path)), golden);
    });

    it("is read-only to the guest, its overlay the guest's alone, and neither is opened", async () => {
      const { verdicts: [overlay, file], asExpected, pid } = await verify(runs[0]!);
      assert.ok(asExpected);
      assert.deepEqual([overlay!.verdict.write.answer, file!.verdict.write.answer], [
        "allowed",
        "denied",
      ]);
      assert.deepEqual([overlay!.verdict.open.answer, file!.verdict.open.answer], [
        "denied",
        "denied",
      ]);
      assert.ok(flagsOf(pid, path).every((flags) => (flags & 3) === 0));
      assert.equal((await overlays()).length, 2);
    });

    it("is refused to a snapshot, which would keep nothing", async () => {
      const { status, stderr } = await svirtAgent("snapshot", "create", "kiosk1", "root");
      assert.equal(status, 1, stderr);
      assert.match(stderr, /transient: what it would freeze is thrown away/);
    });

    it("leaves nothing when the guest stops, and the next start begins anew", async () => {
      for (const run of runs) assert.equal(await run.stop(), 0, run.output);
      assert.deepEqual(await overlays(), []);
      assert.deepEqual(new Uint8Array(readFileSync(path)), golden);
      await requireGivenBack(path);
      runs = [await start("kiosk1", [image])];
      const { verdicts: [top] } = await verify(runs[0]!);
      await requireBytes(runs[0]!, "root", top!.path, "0x60 1M 64k");
      assert.equal(await runs[0]!.stop(), 0, runs[0]!.output);
    });

    it("leaves nothing when the agent dies, while it attaches or later", async () => {
      const file = await writeGuest("kiosk1", [image], MACHINE);
      for (const step of ["attach:graph", "attach:record"]) {
        const run = new Run("kiosk1", file, { SVIRT_TEST_DIE_AFTER: step });
        assert.equal(await run.ended, 137, run.output);
        assert.equal((await overlays()).length, 1);
        const { status, stderr } = await svirtAgent("guest", "recover", "kiosk1", "--stop");
        assert.equal(status, 0, stderr);
        assert.deepEqual(await overlays(), [], step);
        await requireGivenBack(path);
      }
    });
  });
}

describe("a guest with 64 images", () => {
  const MANY = 64;
  const paths: string[] = [];
  let run: Run;
  after(() => run?.process.kill("SIGKILL"));

  it("is attached to all of them", async (t) => {
    for (let i = 0; i < MANY; i++) {
      paths.push(await make(`${STORAGE.ext4}/many-${i}.raw`, "1M"));
    }
    const images = paths.map((path, i) => ({ name: `disk${i}`, path, format: "raw" }));
    const from = performance.now();
    run = await start("many", images);
    t.diagnostic(`attached in ${((performance.now() - from) / 1000).toFixed(1)} s`);
    for (const i of [0, 7, 8, MANY - 1]) {
      assert.doesNotMatch(await run.io(`disk${i}`, `write -P ${i + 1} 0 64k`), /fail|error/i);
      assert.equal(readFileSync(paths[i]!)[0], i + 1);
    }
  });

  it("is verified, each image", async () => {
    const { verdicts, asExpected } = await verify(run);
    assert.ok(asExpected);
    assert.equal(verdicts.length, MANY);
  });

  it("has all of them frozen in one transaction", async (t) => {
    const from = performance.now();
    const { status, stdout, stderr } = await svirtAgent("snapshot", "create", "many", "--json");
    t.diagnostic(`frozen in ${((performance.now() - from) / 1000).toFixed(1)} s`);
    assert.equal(status, 0, stderr);
    const images = JSON.parse(stdout).images as FrozenImage[];
    assert.equal(images.length, MANY);
    assert.ok(images.every(({ grade }) => grade === "enforced (label)"));
    paths.push(...images.map(({ overlay }) => overlay));
  });

  it("leaves no descriptor of them in the agent but one for each lock and each label", () => {
    const agents = processContexts().filter(({ context }) => context.includes(":svirt_agent_t:"));
    const held = agents.flatMap(({ pid }) => descriptorsOf(pid))
      .filter(({ path }) => paths.includes(path));
    // A frozen image and its overlay: `ro` of both, and the overlay's lock.
    assert.equal(held.length, 3 * MANY);
  });

  it("is stopped, and everything is given back", async () => {
    assert.equal(await run.stop(), 0, run.output);
    await requireGivenBack(...paths);
    assert.equal(logState().grants.size, 0);
    const agents = processContexts().filter(({ context }) => context.includes(":svirt_agent_t:"));
    assert.deepEqual(agents.flatMap(({ pid }) => descriptorsOf(pid)), []);
  });
});
