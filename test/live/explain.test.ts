/**
 * Denials that the kernel has just made, explained from auditd's log with the policy that made them.
 *
 * @module
 */

import assert from "node:assert/strict";
import { chmodSync, rmSync, writeFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { avcsOf } from "./audit_log.ts";
import { command, type Finished, must } from "./command.ts";
import { Holder } from "./holder.ts";
import { claim, prepareHost, STORAGE, USER } from "./world.ts";

/** Of auditd's log what this test has made: other tests' denials are theirs to explain. */
const LOG = "/run/explained.log";
const MAIN = fileURLToPath(new URL("../../agent/main.js", import.meta.url));
const GUEST = "system_u:system_r:svirt_prot_exec_t:s0:c1,c2";

/** One denial: what the guest's context tries, and what has to be said of it. */
interface Case {
  readonly what: string;
  readonly path: string;
  /** Of the file; absent where the filesystem keeps none. */
  readonly label?: string;
  readonly flags: "ro" | "rw";
  readonly meaning: string;
  readonly by: string;
  readonly id?: string;
}

const ext4 = (name: string) => `${STORAGE.ext4}/explained-${name}.raw`;

const CASES: readonly Case[] = [
  {
    what: "its own image, opened by path",
    path: ext4("own"),
    label: "svirt_fd_image_t:s0:c1,c2",
    flags: "ro",
    meaning: "working",
    by: "rule",
    id: "image-inherited",
  },
  {
    what: "another guest's image",
    path: ext4("other"),
    label: "svirt_fd_image_t:s0:c3,c4",
    flags: "ro",
    meaning: "working",
    by: "constraint",
    id: "other-guest-file",
  },
  {
    what: "a frozen image, opened for writing",
    path: ext4("frozen"),
    label: "svirt_fd_ro_t:s0:c1,c2",
    flags: "rw",
    meaning: "working",
    by: "rule",
    id: "frozen-descriptor",
  },
  {
    what: "an image on NFS, opened by path",
    path: `${STORAGE.nfs42}/explained.raw`,
    flags: "ro",
    meaning: "working",
    by: "boolean",
    id: "storage-inherited",
  },
  {
    what: "an image that nobody labelled",
    path: ext4("unlabelled"),
    label: "virt_image_t:s0",
    flags: "ro",
    meaning: "look",
    by: "rule",
  },
];

function explain(...args: string[]): Promise<Finished> {
  return command(process.execPath, [MAIN, "policy", "explain", ...args]);
}

/** One kind of denial in `--json`. */
interface Said {
  readonly serials: readonly number[];
  readonly meaning: string;
  readonly saidNo: { readonly by: string; readonly answer: string };
  readonly predictedBy?: { readonly id: string };
}

describe("svirt-agent policy explain, of denials by the running kernel", () => {
  let holder: Holder;
  const serials = new Map<string, number[]>();
  let document: { readonly policy: string; readonly denials: readonly Said[] };

  before(async () => {
    await prepareHost();
    for (const { path, label } of CASES) {
      writeFileSync(path, new Uint8Array(4096));
      chmodSync(path, 0o666);
      if (label !== undefined) await must("chcon", `system_u:object_r:${label}`, path);
    }
    holder = await Holder.start(GUEST, USER);
    for (const { what, path, flags } of CASES) {
      const { tag, said } = await holder.attempt(`open ${path} ${flags}`);
      assert.equal(said, "err EACCES", what);
      const avcs = await avcsOf("any", ({ comm }) => comm === tag);
      serials.set(what, avcs.map(({ serial }) => serial));
      claim(serials.get(what)!, `explained: ${what}`);
      assert.notEqual(avcs.length, 0, `${what}: no AVC`);
    }
    const events = [...serials.values()].flat().map((serial) => `:${serial}):`);
    const lines = (await must("cat", "/var/log/audit/audit.log")).split("\n");
    const own = lines.filter((line) => events.some((event) => line.includes(event)));
    writeFileSync(LOG, `${own.join("\n")}\n`);
    const { stdout, stderr } = await explain(LOG, "--json");
    assert.notEqual(stdout, "", stderr);
    document = JSON.parse(stdout);
  });

  after(() => {
    holder[Symbol.dispose]();
    for (const { path } of CASES) rmSync(path);
  });

  it("asks the policy that is enforced", () => {
    assert.equal(document.policy, "the running kernel");
  });

  for (const { what, meaning, by, id } of CASES) {
    it(`${what}: ${meaning}, ${by}${id === undefined ? "" : `, ${id}`}`, () => {
      for (const serial of serials.get(what)!) {
        const said = document.denials.find((it) => it.serials.includes(serial));
        assert.deepEqual(
          [said?.meaning, said?.saidNo.answer, said?.saidNo.by, said?.predictedBy?.id],
          [meaning, "denied", by, id],
        );
      }
    });
  }

  it("prints what it expects, and expects exactly that; one denial less is missing", async () => {
    const file = "/run/expected.toml";
    writeFileSync(file, (await explain(LOG, "--print-expect")).stdout);
    const same = await explain(LOG, "--expect", file);
    assert.equal(same.status, 0, same.stdout);
    const less = "/run/less.log";
    const lines = (await must("cat", LOG)).split("\n");
    writeFileSync(less, lines.filter((line) => !line.includes("svirt_fd_ro_t")).join("\n"));
    const { status, stdout } = await explain(less, "--expect", file);
    assert.equal(status, 1);
    assert.match(stdout, /^missing: .*svirt_prot_exec_t svirt_fd_ro_t:file write/m);
  });

  it("answers for booleans as they are now, where the log does not tell", async () => {
    const line = `avc:  denied  { open } for pid=1 scontext=${GUEST} ` +
      "tcontext=system_u:object_r:nfs_t:s0 tclass=file permissive=0";
    await must("setsebool", "virt_use_nfs", "on");
    try {
      const { stdout } = await explain(line);
      assert.match(stdout, /the running kernel allows it[^]*find out who changed the policy/);
    } finally {
      await must("setsebool", "virt_use_nfs", "off");
    }
    assert.match((await explain(line)).stdout, /virt_use_nfs=on would/);
  });
});
