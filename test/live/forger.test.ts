/**
 * A guest that rewrites the header of its own image, through the descriptor that it was given: other
 * files are named as backing file and as data file. None of them is ever labelled, opened or passed,
 * and each forgery is a finding.
 *
 * @module
 */

import assert from "node:assert/strict";
import { closeSync, existsSync, openSync, readFileSync, readSync, writeSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import type { AuditRecord } from "../../agent/audit/record.ts";
import { descriptorsOf } from "../../agent/process/descriptor.ts";
import type { VarlinkError } from "../../agent/service/varlink.ts";
import type { GuestVerdict } from "../../agent/verify/guest.ts";
import { must, svirtAgent } from "./command.ts";
import { Holder } from "./holder.ts";
import {
  type GuestFile,
  LOG,
  makeBase,
  makeGuest,
  prepareHost,
  Run,
  type Storage,
  USER,
} from "./world.ts";

/** More than a header with its extensions and a name. */
const START = 1024;

/** What a forged header says; what is absent it says as before, null is none. */
interface Forgery {
  readonly backing?: string | null;
  readonly backingFormat?: string;
  readonly dataFile?: string;
}

/** qemu's docs/interop/qcow2.txt: the header, extensions, and then the backing file's name. */
function forge(header: Buffer, own: string, { backing, backingFormat, dataFile }: Forgery): Buffer {
  const forged = Buffer.alloc(START);
  const length = header.readUInt32BE(100);
  header.copy(forged, 0, 0, length);
  const name = backing === undefined ? own : backing;
  forged.writeBigUInt64BE(name === null ? 0n : 600n, 8);
  forged.writeUInt32BE(name === null ? 0 : Buffer.byteLength(name), 16);
  if (name !== null) forged.write(name, 600);
  let at = length;
  const extension = (type: number, text: string) => {
    forged.writeUInt32BE(type, at);
    forged.writeUInt32BE(Buffer.byteLength(text), at + 4);
    forged.write(text, at + 8);
    at += 8 + Math.ceil(Buffer.byteLength(text) / 8) * 8;
  };
  if (name !== null) extension(0xe2792aca, backingFormat ?? "raw");
  if (dataFile !== undefined) {
    forged.writeBigUInt64BE(forged.readBigUInt64BE(72) | 4n, 72);
    extension(0x44415441, dataFile);
  }
  return forged;
}

/** Those that are tried on a guest that is being started: each takes seconds. */
const AT_START = [
  "another guest's image as backing file",
  "no backing file",
  "another guest's image as data file",
];

function startOf(path: string): Buffer {
  const bytes = Buffer.alloc(START);
  const fd = openSync(path, "r");
  readSync(fd, bytes, 0, START, 0);
  closeSync(fd);
  return bytes;
}

/** On the host, for images of guests that do not run. */
function putStart(path: string, bytes: Buffer): void {
  const fd = openSync(path, "r+");
  writeSync(fd, bytes, 0, bytes.length, 0);
  closeSync(fd);
}

function records(): AuditRecord[] {
  return readFileSync(LOG, "utf8").trim().split("\n").map((line) => JSON.parse(line));
}

function findings(): string[] {
  return records().flatMap((it) =>
    it.event === "finding" && it.id === "header-differs" ? it.text : []
  );
}

for (const storage of ["ext4", "nfs42"] as Storage[]) {
  describe(`a forged header on ${storage}`, () => {
    let web1: GuestFile, web2: GuestFile;
    let run1: Run, run2: Run;
    let holder: Holder;
    let pid: number;
    let foreign: string[];
    let untouched: string;
    /** Records of guests on another storage. */
    let earlier: number;
    /** Images that web1 may be granted. */
    let own: string[];
    let forgeries: Record<string, Forgery>;

    const look = () => must("stat", "-c", "%n %i %u:%g %a %C %s", ...foreign);

    /** Through QEMU's own descriptor of the image. */
    async function inGuest(
      path: string,
      work: (write: (bytes: Buffer) => Promise<void>) => Promise<void>,
    ) {
      const { number } = descriptorsOf(pid).find((fd) => fd.path === path && fd.access === "rw")!;
      const kept = await holder.take(pid, number);
      const honest = startOf(path);
      const write = async (bytes: Buffer) => {
        const said = await holder.ask(`hexwrite ${kept} 0 ${bytes.toString("hex")}`);
        assert.equal(said, `${START}`);
        assert.deepEqual(startOf(path), bytes);
      };
      try {
        await work(write);
      } finally {
        await write(honest);
        await holder.ask(`close ${kept}`);
      }
    }

    async function nothingHappened(): Promise<void> {
      assert.equal(await look(), untouched, "foreign files keep label, owner and mode");
      for (const it of records().slice(earlier)) {
        if (it.event !== "grant" || it.guest !== "web1") continue;
        assert.ok(own.includes(it.path), `web1 was granted ${it.path}`);
      }
    }

    before(async () => {
      await prepareHost();
      earlier = existsSync(LOG) ? records().length : 0;
      makeBase(storage);
      web1 = await makeGuest("web1", storage);
      web2 = await makeGuest("web2", storage);
      [run1, run2] = await Promise.all(
        [web1, web2].map(({ name, file }) => new Run(name, file).running()),
      ) as [Run, Run];
      const { verdict } = await run1.call("Verify") as {
        verdict: { pid: number; context: string };
      };
      pid = verdict.pid;
      holder = await Holder.start(verdict.context, USER);
      foreign = [web2.root, web2.data, "/etc/shadow"];
      untouched = await look();
      own = [web1.root, web1.data, web1.base];
      forgeries = {
        "another guest's image as backing file": { backing: web2.root, backingFormat: "qcow2" },
        "another guest's raw image as backing file": { backing: web2.data },
        "a file of the host as backing file": { backing: "/etc/shadow" },
        "a file of the host in a json: name": {
          backing: `json:{"driver":"raw","file":{"driver":"file","filename":"/etc/shadow"}}`,
        },
        "an fdset as backing file": { backing: "/dev/fdset/2" },
        "another format of the backing file": { backingFormat: "qcow2" },
        "no backing file": { backing: null },
        "another guest's image as data file": { dataFile: web2.data },
      };
    });

    after(async () => {
      holder?.[Symbol.dispose]();
      for (const run of [run1, run2]) await run?.end();
    });

    it("is a finding of verify and of a snapshot, which is refused; nothing follows it", async () => {
      await inGuest(web1.root, async (write) => {
        const honest = startOf(web1.root);
        for (const [what, forgery] of Object.entries(forgeries)) {
          await write(forge(honest, web1.base, forgery));
          const before = findings().length;
          const { verdict } = await run1.call("Verify") as unknown as { verdict: GuestVerdict };
          assert.equal(verdict.asExpected, false, what);
          assert.match(verdict.problems.join(), /web1\.qcow2" has a header that says/, what);
          await assert.rejects(run1.call("SnapshotCreate", { images: ["root"] }), (error) => {
            const { parameters } = error as VarlinkError;
            assert.equal(parameters["code"], "header-differs", what);
            assert.match(String(parameters["hint"]), /A guest can write its header/);
            return true;
          });
          assert.ok(findings().length >= before + 2, `${what} is recorded`);
          await nothingHappened();
        }
        const snapshot = await svirtAgent("snapshot", "create", "web1", "root");
        assert.equal(snapshot.status, 1, snapshot.stderr);
        const verify = await svirtAgent("verify", "web1");
        assert.equal(verify.status, 1, verify.stdout);
        assert.match(verify.stdout, /NOT AS EXPECTED: .*web1\.qcow2" has a header that says/);
      });
    });

    it("is a finding too when it is none any more", async () => {
      await inGuest(web1.root, async (write) => {
        await write(Buffer.alloc(START, 0x5a));
        const { status, stderr } = await svirtAgent("snapshot", "create", "web1");
        assert.equal(status, 1, stderr);
        assert.match(stderr, /format null/);
      });
    });

    it("is seen in an overlay as well, whose honest header names the file that was frozen", async () => {
      const { status, stdout, stderr } = await svirtAgent(
        "snapshot",
        "create",
        "web1",
        "root",
        "--json",
      );
      assert.equal(status, 0, stderr);
      const overlay = JSON.parse(stdout).images[0].overlay as string;
      own.push(overlay);
      const honest = startOf(overlay);
      const offset = Number(honest.readBigUInt64BE(8));
      const length = honest.readUInt32BE(16);
      assert.equal(honest.toString("utf8", offset, offset + length), web1.root);
      await inGuest(overlay, async (write) => {
        await write(forge(honest, web1.root, { backing: web2.root, backingFormat: "qcow2" }));
        await assert.rejects(run1.call("SnapshotCreate", { images: ["root"] }));
        const { verdict } = await run1.call("Verify") as unknown as { verdict: GuestVerdict };
        assert.match(verdict.problems.join(), /has a header that says backing/);
      });
      await nothingHappened();
      const held = descriptorsOf(pid).map(({ path }) => path).filter((it) => foreign.includes(it));
      assert.deepEqual(held, [], "QEMU holds none of what was named");
      // A process with the guest's categories, which a stop would wait for.
      holder[Symbol.dispose]();
      // Back to one file, so that the guest file is right again.
      assert.equal(await run1.stop(), 0, run1.output);
      await must("rm", overlay);
    });

    it("changes nothing of what recovery does after the agent was killed", async () => {
      run1 = await new Run("web1", web1.file).running();
      const { verdict } = await run1.call("Verify") as {
        verdict: { pid: number; context: string };
      };
      pid = verdict.pid;
      holder = await Holder.start(verdict.context, USER);
      const { number } = descriptorsOf(pid).find((fd) =>
        fd.path === web1.root && fd.access === "rw"
      )!;
      const kept = await holder.take(pid, number);
      const bytes = forge(startOf(web1.root), web1.base, { backing: web2.root });
      await holder.ask(`hexwrite ${kept} 0 ${bytes.toString("hex")}`);
      holder[Symbol.dispose]();
      run1.process.kill("SIGKILL");
      await run1.ended;
      const { status, stdout, stderr } = await svirtAgent("guest", "recover", "web1", "--stop");
      assert.equal(status, 0, stdout + stderr);
      await nothingHappened();
    });

    it("keeps the guest from being started again, with 1, and is recorded", async () => {
      const honest = forge(startOf(web1.root), web1.base, {});
      for (const [what, forgery] of Object.entries(forgeries)) {
        if (!AT_START.includes(what)) continue;
        putStart(web1.root, forge(honest, web1.base, forgery));
        const before = findings().length;
        const { status, stderr } = await svirtAgent("run", web1.file);
        assert.equal(status, 1, `${what}: ${stderr}`);
        assert.match(stderr, /web1\.qcow2" has a header that says/, what);
        assert.ok(findings().length > before, `${what} is recorded`);
        await nothingHappened();
      }
      putStart(web1.root, honest);
      run1 = await new Run("web1", web1.file).running();
      assert.equal(await run1.stop(), 0, run1.output);
    });

    it("does nothing to the other guest", async () => {
      assert.equal((await svirtAgent("verify", "web2")).status, 0);
      assert.equal(await run2.stop(), 0, run2.output);
    });
  });
}
