/**
 * Rarer mistakes and bad days, beside those of mistakes.test.ts: each gets a message with a hint and
 * its exit status, and nothing is lost or half done.
 *
 * @module
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { chmodSync, chownSync, mkdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { avcsOf } from "./audit_log.ts";
import { must, svirtAgent } from "./command.ts";
import { configured, guestFile, refusesToRun } from "./left_alone.ts";
import { claim, type GuestFile, makeBase, makeGuest, prepareHost, Run, STORAGE } from "./world.ts";

const SETTINGS = "/etc/svirt-agent";

let web1: GuestFile;
let good: string;

const refused = (file: string, status: number, ...patterns: RegExp[]) =>
  refusesToRun(web1, [file], status, ...patterns);

before(async () => {
  await prepareHost();
  makeBase("ext4");
  web1 = await makeGuest("web1", "ext4");
  good = readFileSync(web1.file, "utf8");
});

after(async () => {
  const { stdout } = await svirtAgent("guest", "list", "--json");
  assert.deepEqual(JSON.parse(stdout).guests, [], "no guest has anything after all of it");
});

describe("a guest file that does not fit its images", () => {
  it("calls a raw image qcow2: exit 2", async () => {
    const file = await guestFile(
      "web1-bad",
      good.replace('format = "raw"\n', 'format = "qcow2"\n'),
    );
    await refused(file, 2, /web1-data\.raw.*magic/);
  });

  it("names a backing file outside of the folders: exit 2", async () => {
    const file = await guestFile("web1-bad", good.replace(web1.base, "/etc/passwd"));
    await refused(file, 2, /"\/etc\/passwd" lies in no allowed folder/);
  });

  it("follows a header to an image that is its own backing file: exit 2", async () => {
    const loop = `${STORAGE.ext4}/loop.qcow2`, below = `${STORAGE.ext4}/below.qcow2`;
    const make = ["create", "-q", "-f", "qcow2", "-F", "qcow2", "-u", "-b"];
    await must("qemu-img", ...make, below, loop, "1M");
    await must("qemu-img", ...make, loop, below, "1M");
    const adopted = await svirtAgent("image", "chain", loop, "--format", "qcow2", "--adopt");
    assert.equal(adopted.status, 2, adopted.stderr);
    assert.match(adopted.stderr, /is its own backing file/);
    // Pinned as far as it can be written down, the end is where the header goes on.
    const file = await guestFile(
      "web1-bad",
      good.replace(web1.root, loop)
        .replace(/backing = .*/, `backing = [{ path = "${below}", format = "qcow2" }]`),
    );
    await refused(file, 1, /below\.qcow2" has a header that says backing ".*loop\.qcow2"/);
    for (const path of [loop, below]) rmSync(path);
  });

  it("calls a qcow2 image raw: the guest sees its bytes, and nothing is probed or followed", async () => {
    // As a guest could have written it: raw images have no header to believe.
    await must(
      "qemu-img",
      "create",
      "-q",
      "-f",
      "qcow2",
      "-u",
      "-b",
      "/etc/passwd",
      "-F",
      "raw",
      web1.data,
      "1M",
    );
    const size = Math.ceil(statSync(web1.data).size / 512) * 512;
    const run = await new Run("web1", web1.file).running();
    try {
      const { said } = await run.call("Qmp", { execute: "query-named-block-nodes" });
      const node = (said as Record<string, unknown>[]).find((it) => it["node-name"] === "data");
      assert.deepEqual([node?.["drv"], node?.["backing_file_depth"]], ["raw", 0]);
      // Its disk is the file, header and all, and not the mebibyte that the header speaks of.
      assert.equal((node?.["image"] as { "virtual-size": number })["virtual-size"], size);
      const pid = Number(/runs as pid (\d+)/.exec(run.output)?.[1]);
      const asked = await avcsOf(pid, ({ denied }) => denied.includes("ioctl"));
      claim(
        asked.map(({ serial }) => serial),
        "to describe a node QEMU asks for its extent size hint (FS_IOC_FSGETXATTR), and does without",
      );
    } finally {
      assert.equal(await run.stop(), 0, run.output);
    }
  });

  it("is a second file of a guest that runs: exit 1", async () => {
    const run = await new Run("web1", web1.file).running();
    try {
      const again = await guestFile("web1-again", good);
      await refused(again, 1, /another svirt-agent guards guest web1/);
    } finally {
      assert.equal(await run.stop(), 0, run.output);
    }
  });
});

describe("a host that is set up wrongly exits with 2", () => {
  const folder = `${STORAGE.ext4}/loose`;
  before(() => mkdirSync(folder));
  after(() => rmSync(folder, { recursive: true }));

  it("where a folder of images is writable by others", async () => {
    chmodSync(folder, 0o777);
    const options = await configured("loose", `folders = ["${STORAGE.ext4}", "${folder}"]\n`);
    await refusesToRun(
      web1,
      [...options, web1.file],
      2,
      /loose" is writable by others/,
      /chmod go-w/,
    );
    chmodSync(folder, 0o755);
  });

  it("where a folder of images belongs to somebody else", async () => {
    chownSync(folder, 1000, 0);
    const options = await configured("loose", `folders = ["${STORAGE.ext4}", "${folder}"]\n`);
    await refusesToRun(
      web1,
      [...options, web1.file],
      2,
      /loose" belongs to uid 1000/,
      /chown root:/,
    );
    chownSync(folder, 0, 0);
  });

  it("where a folder of images does not exist", async () => {
    const options = await configured("loose", `folders = ["${STORAGE.ext4}", "/srv/none"]\n`);
    await refusesToRun(
      web1,
      [...options, web1.file],
      2,
      /\/srv\/none.*ENOENT/,
      /agent\.toml names it/,
    );
  });

  it("where there is no agent.toml", async () => {
    const options = ["--config", `${SETTINGS}/none.toml`];
    await refusesToRun(web1, [...options, web1.file], 2, /does not exist/, /folders = \[/);
  });

  it("where the agent may not read its agent.toml", async () => {
    const options = await configured("shadow", `folders = ["${STORAGE.ext4}"]\n`);
    await must("chcon", "-t", "shadow_t", options[1]!);
    await refusesToRun(web1, [...options, web1.file], 2, /may not be read/, /ausearch -m AVC/);
    const avcs = await avcsOf("any", ({ tcontext }) => tcontext.includes(":shadow_t:"));
    claim(avcs.map(({ serial }) => serial), "agent.toml labelled shadow_t on purpose");
    assert.ok(avcs.length > 0, "the kernel refused it");
    rmSync(options[1]!);
  });
});

describe("two agents that start one guest at the same moment", () => {
  it("exactly one runs it, the other exits with 1", async () => {
    const runs = [new Run("web1", web1.file), new Run("web1", web1.file)];
    const came = await Promise.allSettled(runs.map((run) => run.running()));
    assert.deepEqual(came.map(({ status }) => status).sort(), ["fulfilled", "rejected"]);
    const [winner, loser] = came[0]!.status === "fulfilled" ? runs : runs.toReversed();
    assert.equal(await loser!.ended, 1, loser!.output);
    assert.match(loser!.output, /another svirt-agent guards guest web1/);
    assert.equal(await winner!.stop(), 0, winner!.output);
  });
});

describe("a host with two categories for guests", () => {
  it("serves one guest, and refuses the next with 1", async () => {
    const options = await configured(
      "two",
      `folders = ["${STORAGE.ext4}"]\ncategories = "c0.c1"\n`,
    );
    const run = await new Run("web1", web1.file, {}, options).running();
    assert.match(run.output, /:s0:c0,c1; Ctrl-C stops it/);
    try {
      const { file } = await makeGuest("web2", "ext4");
      await refusesToRun(
        web1,
        [...options, file],
        1,
        /No two categories of c0\.c1 are free/,
        /categories/,
      );
    } finally {
      assert.equal(await run.stop(), 0, run.output);
    }
  });
});

describe("an image that another program only reads", () => {
  /** Opens the image with qemu-io, and keeps it open while `work` runs. */
  async function whileRead(options: readonly string[], work: () => Promise<void>): Promise<void> {
    const program = spawn("qemu-io", ["-r", ...options, "-f", "qcow2", web1.root], {
      stdio: "pipe",
    });
    try {
      await new Promise((resolve) => program.stdout.once("data", resolve));
      await work();
    } finally {
      program.kill();
    }
  }

  it("is refused with 2 where that program could not bear a change", async () => {
    await whileRead([], () => refused(web1.file, 2, /is in use: another program uses it/));
  });

  it("is attached where that program shares all rights", async () => {
    await whileRead(["-U"], async () => {
      const run = await new Run("web1", web1.file).running();
      assert.equal(await run.stop(), 0, run.output);
    });
  });
});
