/**
 * Common mistakes: each gets a message with a hint and its exit status, and nothing is changed by it.
 *
 * @module
 */

import assert from "node:assert/strict";
import {
  linkSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { before, describe, it } from "node:test";
import { recordedAvcs } from "./audit_log.ts";
import { must, svirtAgent } from "./command.ts";
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

/** Writes a guest file; answers its path. */
async function guestFile(name: string, text: string): Promise<string> {
  const path = `${FOLDER}/${name}.toml`;
  writeFileSync(path, text);
  await must("restorecon", path);
  return path;
}

/** Runs a guest that must not start. */
async function refused(file: string, status: number, ...patterns: RegExp[]): Promise<void> {
  const before = await must("stat", "-c", "%n %u:%g %a %C", web1.root, web1.data, web1.base);
  const result = await svirtAgent("run", file);
  assert.equal(result.status, status, result.stderr);
  for (const pattern of patterns) assert.match(result.stderr, pattern);
  assert.match(result.stderr, /hint: /);
  const after = await must("stat", "-c", "%n %u:%g %a %C", web1.root, web1.data, web1.base);
  assert.equal(after, before, "owners and labels are as before");
}

before(async () => {
  await prepareHost();
  makeBase("ext4");
  makeBase("nfs42");
  web1 = await makeGuest("web1", "ext4");
  good = readFileSync(web1.file, "utf8");
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
      ["a file in args", (it: string) => it.replace('"-m"', '"-hda", "/srv/ext4/x", "-m"'), /-hda/],
      ["root as QEMU's user", (it: string) => it.replace("libvirt-qemu", "root"), /root/],
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

  it("a header that names another backing file than the guest file", async () => {
    const other = `${STORAGE.ext4}/other.raw`;
    writeFileSync(other, new Uint8Array(1 << 20));
    await must("qemu-img", "rebase", "-u", "-f", "qcow2", "-b", other, "-F", "raw", web1.root);
    try {
      await refused(web1.file, 2, /header/, /other\.raw/);
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
    await must("chcon", "-t", "svirt_agent_log_t", folder);
    await must(
      "mount",
      "-t",
      "tmpfs",
      "-o",
      "ro,rootcontext=system_u:object_r:svirt_agent_log_t:s0",
      "tmpfs",
      folder,
    );
    const config = "/etc/svirt-agent/read-only.toml";
    const settings = readFileSync("/etc/svirt-agent/agent.toml", "utf8");
    writeFileSync(config, `${settings}audit = { folder = "${folder}" }\n`);
    await must("restorecon", config);
    try {
      const before = await must("stat", "-c", "%u %C", web1.root);
      const { status, stderr } = await svirtAgent("run", "--config", config, web1.file);
      assert.equal(status, 3, stderr);
      assert.match(stderr, /EROFS/);
      assert.match(stderr, /hint: /);
      assert.equal(await must("stat", "-c", "%u %C", web1.root), before);
    } finally {
      await must("umount", folder);
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
});

describe("what another guest has", () => {
  let run: Run;
  before(async () => {
    run = await new Run("web1", web1.file).running();
  });

  it("is refused by name, with 1", async () => {
    const text = good.replace('name = "web1"', 'name = "web2"');
    const { status, stderr } = await svirtAgent("run", await guestFile("web2", text));
    assert.equal(status, 1, stderr);
    assert.match(stderr, /web1/);
  });

  it("is refused also as a base that only one of them calls shared", async () => {
    const web3 = await makeGuest("web3", "ext4");
    const text = readFileSync(web3.file, "utf8").replace("shared = true", "shared = false");
    const { status, stderr } = await svirtAgent("run", await guestFile("web3", text));
    assert.equal(status, 1, stderr);
    assert.match(stderr, /shared/);
  });

  it("is not started a second time", async () => {
    const { status, stderr } = await svirtAgent("run", web1.file);
    assert.equal(status, 1, stderr);
    assert.match(stderr, /another svirt-agent guards guest web1/);
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
  it("switches virt_use_nfs off, and the log says so", async () => {
    await must("setsebool", "virt_use_nfs", "on");
    const died = new Run("nfs1", `${FOLDER}/nfs1.toml`, { SVIRT_TEST_DIE_AFTER: "attach:grant" });
    assert.equal(await died.ended, 1, died.output);
    const run = await new Run("nfs1", `${FOLDER}/nfs1.toml`, {}, ["--yes"]).running();
    assert.equal((await must("getsebool", "virt_use_nfs")).trim(), "virt_use_nfs --> off");
    assert.equal(await run.stop(), 0, run.output);
    assert.match(readFileSync(LOG, "utf8"), /"event":"boolean".*"name":"virt_use_nfs"/);
  });
});
