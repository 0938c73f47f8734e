/** `verify --watch`, as somebody keeps it open while the host changes. */

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { after, before, describe, it } from "node:test";
import type { Answered } from "../../agent/command/verify_view.ts";
import type { Change } from "../../agent/verify/change.ts";
import { avcsOf } from "./audit_log.ts";
import { must } from "./command.ts";
import { claim, type GuestFile, makeBase, makeGuest, prepareHost, Run } from "./world.ts";

interface Shown {
  readonly changes: readonly Change[];
  readonly guests: readonly Answered[];
  readonly asExpected: boolean;
}

/** `svirt-agent verify GUEST --watch --json`, one document a line. */
class Watch {
  readonly process: ChildProcess;
  readonly ended: Promise<number | null>;
  readonly shown: Shown[] = [];
  errors = "";

  constructor(guest: string, ...options: string[]) {
    const args = ["verify", guest, "--watch", "--json", ...options];
    this.process = spawn("/usr/sbin/svirt-agent", args, { stdio: ["ignore", "pipe", "pipe"] });
    let text = "";
    this.process.stdout!.on("data", (chunk) => {
      const lines = (text += chunk).split("\n");
      text = lines.pop()!;
      this.shown.push(...lines.map((line) => JSON.parse(line) as Shown));
    });
    this.process.stderr!.on("data", (chunk) => this.errors += chunk);
    this.ended = new Promise((resolve) => this.process.on("close", resolve));
  }

  /** The first document that has such a change, once it is there. */
  async until(matches: (change: Change) => boolean, ms = 60_000): Promise<Shown> {
    for (const deadline = Date.now() + ms;;) {
      const found = this.shown.find(({ changes }) => changes.some(matches));
      if (found !== undefined) return found;
      if (Date.now() > deadline) throw new Error(`not shown: ${this.errors}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

describe("verify --watch", () => {
  let guest: GuestFile;
  let run: Run;
  let watch: Watch;

  before(async () => {
    await prepareHost();
    makeBase("nfs42");
    guest = await makeGuest("web1", "nfs42");
    run = await new Run(guest.name, guest.file).running();
    watch = new Watch(guest.name);
    await watch.until(({ kind }) => kind === "start");
  });

  after(async () => {
    watch.process.kill("SIGKILL");
    assert.equal(await run.stop(), 0, run.output);
  });

  it("shows a boolean that was switched, by name, and that the verdict is another one", async () => {
    assert.equal(watch.shown[0]?.asExpected, true);
    await must("setsebool", "virt_use_nfs", "on");
    const shown = await watch.until(({ text }) => text === "boolean virt_use_nfs is on");
    assert.equal(shown.asExpected, false);
    await must("setsebool", "virt_use_nfs", "off");
    const again = await watch.until(({ text }) => text === "boolean virt_use_nfs is off");
    assert.equal(again.asExpected, true);
  });

  it("shows a denial of the guest, with its serial, and that the verdict stands", async () => {
    const [{ pid }] = watch.shown[0]!.guests as [Answered];
    const open = { driver: "file", "node-name": "x", filename: guest.base, "read-only": true };
    await assert.rejects(run.call("Qmp", { execute: "blockdev-add", arguments: open }));
    const avcs = await avcsOf(pid, ({ tclass }) => tclass === "file");
    claim(avcs.map(({ serial }) => serial), "watch");
    const serial = avcs.find(({ denied }) => denied.includes("open"))!.serial;
    const shown = await watch.until(({ avc }) => avc?.serial === serial);
    assert.equal(shown.asExpected, true);
  });

  it("shows nothing more while nothing changes", async () => {
    const { length } = watch.shown;
    await new Promise((resolve) => setTimeout(resolve, 5_000));
    assert.equal(watch.shown.length, length);
  });

  it("ends at Ctrl-C with the status of the last verdict", async () => {
    watch.process.kill("SIGINT");
    assert.equal(await watch.ended, 0, watch.errors);
  });

  it("is not led on by what its own canary is denied, and ends with 1 after a finding", async () => {
    watch = new Watch(guest.name, "--canary");
    const [{ canary }] = (await watch.until(({ kind }) => kind === "start")).guests as [Answered];
    await new Promise((resolve) => setTimeout(resolve, 5_000));
    assert.equal(watch.shown.length, 1);
    await must("setsebool", "virt_use_nfs", "on");
    const shown = await watch.until(({ kind }) => kind === "boolean");
    watch.process.kill("SIGINT");
    assert.equal(await watch.ended, 1, watch.errors);
    await must("setsebool", "virt_use_nfs", "off");
    const later = shown.guests[0]?.canary;
    assert.notEqual(later?.pid, canary?.pid, "another policy, another canary");
    for (const { pid } of [canary!, later!]) {
      const avcs = await avcsOf(pid, ({ tcontext }) => tcontext.includes(":nfs_t:"), 1000);
      claim(avcs.map(({ serial }) => serial), "watch: canary");
    }
  });
});
