/**
 * Common mistakes: each gets a message with a hint and its exit status, and nothing is changed by it.
 *
 * @module
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import {
  linkSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { after, before, describe, it } from "node:test";
import { recordedAvcs } from "./audit_log.ts";
import { command, must, svirtAgent } from "./command.ts";
import { guestFile, refusesToRun } from "./left_alone.ts";
import {
  claim,
  type GuestFile,
  LOG,
  makeBase,
  makeGuest,
  prepareHost,
  Run,
  STORAGE,
} from "./world.ts";

const FOLDER = "/etc/svirt-agent/guests.d";

let web1: GuestFile;
let good: string;

/** Runs a guest that must not start. */
async function refused(file: string, status: number, ...patterns: RegExp[]): Promise<void> {
  await refusesToRun(web1, [file], status, ...patterns);
}

before(async () => {
  await prepareHost();
  makeBase("ext4");
  makeBase("nfs42");
  web1 = await makeGuest("web1", "ext4");
  good = readFileSync(web1.file, "utf8");
});

after(async () => {
  const { stdout } = await svirtAgent("guest", "list", "--json");
  assert.deepEqual(JSON.parse(stdout).guests, [], "no guest has anything after all of it");
});

describe("a guest file that is wrong exits with 2 and names file and key", () => {
  for (
    const [what, change, ...patterns] of [
      ["an unknown key", (it: string) => `colour = "red"\n${it}`, /web1-bad\.toml: .*colour/],
      [
        "a mistyped key",
        (it: string) => it.replace("user =", "usr ="),
        /web1-bad\.toml: .*usr/,
        /user/,
      ],
      [
        "a missing format",
        (it: string) => it.replace('format = "qcow2"\n', ""),
        /image\[0\]\.format/,
        /qcow2/,
      ],
      [
        "a user that is not there",
        (it: string) => it.replace("libvirt-qemu", "nobody-here"),
        /no user/,
      ],
    ] as [string, (text: string) => string, ...RegExp[]][]
  ) {
    it(what, async () => {
      await refused(await guestFile("web1-bad", change(good)), 2, ...patterns);
    });
  }
});

describe("an image that is none exits with 2", () => {
  const path = `${STORAGE.ext4}/bad.qcow2`;
  for (
    const [what, make, ...patterns] of [
      ["a symbolic link", () => symlinkSync(web1.root, path), /ELOOP/, /symbolic link/],
      ["a FIFO, and does not hang", () => must("mkfifo", path), /FIFO/],
      ["a folder", () => mkdirSync(path), /folder/],
      ["missing", () => {}, /ENOENT/],
      ["a second name of another file", () => linkSync(web1.data, path), /hard link/],
    ] as [string, () => unknown, ...RegExp[]][]
  ) {
    it(what, async () => {
      await make();
      try {
        await refused(await guestFile("web1-bad", good.replace(web1.root, path)), 2, ...patterns);
      } finally {
        rmSync(path, { recursive: true, force: true });
      }
    });
  }

  it("a file outside the allowed folders", async () => {
    await refused(
      await guestFile("web1-bad", good.replace(web1.root, "/etc/passwd")),
      2,
      /folders/,
    );
  });

  it("but a header that names another backing file than the guest file is a finding: 1", async () => {
    const other = `${STORAGE.ext4}/other.raw`;
    writeFileSync(other, new Uint8Array(1 << 20));
    await must("qemu-img", "rebase", "-u", "-f", "qcow2", "-b", other, "-F", "raw", web1.root);
    try {
      await refused(web1.file, 1, /header/, /other\.raw/);
    } finally {
      await must(
        "qemu-img",
        "rebase",
        "-u",
        "-f",
        "qcow2",
        "-b",
        web1.base,
        "-F",
        "raw",
        web1.root,
      );
      unlinkSync(other);
    }
  });
});

describe("a host that is not ready", () => {
  it("exits with 3 where SELinux is permissive", async () => {
    const from = recordedAvcs().length;
    await must("setenforce", "0");
    try {
      await refused(web1.file, 3, /permissive/, /setenforce 1/);
    } finally {
      await must("setenforce", "1");
    }
    claim(recordedAvcs().slice(from).map(({ serial }) => serial), "while permissive");
  });

  it("exits with 1 while virt_use_nfs is on, with the command to use", async () => {
    const guest = await makeGuest("nfs1", "nfs42");
    await must("setsebool", "virt_use_nfs", "on");
    try {
      await refused(
        guest.file,
        1,
        /virt_use_nfs is on/,
        /svirt-agent boolean set virt_use_nfs off/,
      );
    } finally {
      await must("setsebool", "virt_use_nfs", "off");
    }
  });

  it("exits with 1 where the policy would drop NFS descriptors, with the boolean to set", async () => {
    await must("setsebool", "virt_read_write_nfs", "off");
    try {
      await refused(`${FOLDER}/nfs1.toml`, 1, /virt_read_write_nfs is off/);
    } finally {
      await must("setsebool", "virt_read_write_nfs", "on");
    }
  });

  it("exits with 3 and grants nothing where the log cannot be written", async () => {
    const folder = "/run/read-only-log";
    mkdirSync(folder, { recursive: true });
    // busybox: mount(8) has a domain of its own, which may not mount there.
    const options = "ro,rootcontext=system_u:object_r:svirt_agent_log_t:s0";
    await must("busybox", "mount", "-t", "tmpfs", "-o", options, "tmpfs", folder);
    const config = "/etc/svirt-agent/read-only.toml";
    const settings = readFileSync("/etc/svirt-agent/agent.toml", "utf8");
    writeFileSync(config, `${settings}audit = { folder = "${folder}" }\n`);
    await must("restorecon", config);
    try {
      await refusesToRun(
        web1,
        ["--config", config, web1.file],
        3,
        /EROFS/,
        /audit log needs a filesystem/,
      );
    } finally {
      await must("busybox", "umount", folder);
    }
  });
});

describe("QEMU that does not come up exits with 3", () => {
  it("with its last words", async () => {
    const file = await guestFile("web1-bad", good.replace('"q35"', '"no-such-machine"'));
    await refused(file, 3, /QEMU died at start \(exit 1\)/, /unsupported machine type/);
  });

  it("where there is no such program", async () => {
    const file = await guestFile(
      "web1-bad",
      good.replace("qemu-system-x86_64", "qemu-system-none"),
    );
    await refused(file, 3, /no qemu-system-none/);
  });

  // Without an end of its own this would hang where the agent does.
  const timeout = 60_000;
  it(
    "after 20 s when nobody greets on its monitor, and ends what it left",
    { timeout },
    async () => {
      const program = "/usr/libexec/svirt-lab/silent-qemu";
      // Holds the pipe of its last words open even after the shell is killed.
      writeFileSync(program, "#!/bin/sh\nsleep 120 &\nwait\n", { mode: 0o755 });
      await must("restorecon", program);
      const file = await guestFile("web1-bad", good.replace("qemu-system-x86_64", program));
      const start = Date.now();
      await refused(file, 3, /no greeting within 20000 ms/, /AVC with class unix_stream_socket/);
      // 20 s of waiting; the rest is an agent's start and end, as long as the emulated machine takes.
      assert.ok(Date.now() - start < 60_000);
    },
  );
});

describe("an image that another program uses", () => {
  it("is refused with 2, with how to find that program, and is given back", async () => {
    const program = spawn("qemu-io", ["-f", "qcow2", web1.root], { stdio: "pipe" });
    try {
      await new Promise((resolve) => program.stdout.once("data", resolve));
      await refused(web1.file, 2, /is in use: another program uses it/, /\/proc\/locks/);
    } finally {
      program.kill();
    }
  });
});

describe("what another guest has", () => {
  let run: Run;
  before(async () => {
    run = await new Run("web1", web1.file).running();
  });

  it("is refused by name, with 1", async () => {
    const text = good.replace('name = "web1"', 'name = "web2"');
    await refused(await guestFile("web2", text), 1, /web2 \(image root\) may not write.*web1/);
  });

  it("is refused also as a base that only one of them calls shared", async () => {
    const web3 = await makeGuest("web3", "ext4");
    const text = readFileSync(web3.file, "utf8").replace("shared = true", "shared = false");
    await refused(await guestFile("web3", text), 1, /guest file of web3 does not share it/);
  });

  it("is not started a second time", async () => {
    await refused(web1.file, 1, /another svirt-agent guards guest web1/);
  });

  it("cannot be written by a program that honours QEMU's locks", async () => {
    const { status, stderr } = await command(
      "qemu-io",
      ["-f", "qcow2", "-c", "write 0 512", web1.root],
    );
    assert.equal(status, 1);
    assert.match(stderr, /Failed to get "write" lock/);
  });

  it("is given back at Ctrl-C, and the agent exits with 0", async () => {
    run.process.kill("SIGINT");
    assert.equal(await run.ended, 0, run.output);
    const label = await must("stat", "-c", "%u %C", web1.root);
    assert.equal(label.trim(), "0 system_u:object_r:virt_image_t:s0");
  });
});

describe("QEMU that is killed", () => {
  it("ends the agent with 3, and its images are given back", async () => {
    const run = await new Run("web1", web1.file).running();
    const pid = Number(/runs as pid (\d+)/.exec(run.output)?.[1]);
    process.kill(pid, "SIGKILL");
    assert.equal(await run.ended, 3, run.output);
    assert.match(run.output, /SIGKILL/);
    const label = await must("stat", "-c", "%u %C", web1.root);
    assert.equal(label.trim(), "0 system_u:object_r:virt_image_t:s0");
  });
});

describe("run --yes", () => {
  it("switches virt_use_nfs off, on record before it is done, and shows what that changes", async () => {
    const file = `${FOLDER}/nfs1.toml`;
    await must("setsebool", "virt_use_nfs", "on");
    const run = await new Run("nfs1", file, {}, ["--yes"]).running();
    assert.match(run.output, /virt_use_nfs: on -> off/);
    assert.equal((await must("getsebool", "virt_use_nfs")).trim(), "virt_use_nfs --> off");
    assert.equal(await run.stop(), 0, run.output);
    const events = readFileSync(LOG, "utf8").trim().split("\n").map((line) => JSON.parse(line));
    const switched = events.findLastIndex(({ event }) => event === "boolean");
    assert.deepEqual([events[switched].name, events[switched].to], ["virt_use_nfs", false]);
    assert.ok(switched < events.findLastIndex(({ operation }) => operation === "attach"));
  });
});
