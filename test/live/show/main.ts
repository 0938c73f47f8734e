/**
 * The main job, in the lab: two guests on each storage, before, attached and frozen, shown as it
 * happens, and with `--boot` a guest that boots. Leaves result.json and the audit log in /out.
 *
 * @module
 */

import { copyFileSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { runtime } from "../../../agent/process/runtime.ts";
import { kernel } from "../../../agent/label/selinux.ts";
import { command, must, svirtAgent } from "../command.ts";
import { FROM_BOOT, LOG, makeBase, makeGuest, prepareHost, Run, STORAGE } from "../world.ts";
import type { Storage } from "../world.ts";
import { attached, patterns } from "./attached.ts";
import { before } from "./before.ts";
import { booted } from "./booted.ts";
import { type Check, shown } from "./check.ts";
import { frozen } from "./frozen.ts";

const started = performance.now();
const checks: Check[] = [];

function say(line: string): void {
  const seconds = ((performance.now() - started) / 1000).toFixed(1).padStart(5);
  console.log(`${seconds} s  ${line}`);
}

function add(rows: readonly Check[]): void {
  checks.push(...rows);
  for (const row of rows) say(`  ${shown(row)}`);
}

async function onStorage(storage: Storage): Promise<void> {
  say(`${storage}: two guests over one base in ${STORAGE[storage]}`);
  makeBase(storage);
  // Where labels cannot, the server can keep a frozen image from being written: web2 asks for that.
  const fence = storage === "nfs42" ? "owner" : "off";
  const guests = [
    await makeGuest("web1", storage),
    await makeGuest("web2", storage, fence),
  ] as const;
  const [web1, web2] = guests;

  say(`${storage} before: images by path, as everybody runs them today`);
  add(await before(web1, web2));
  const set = await svirtAgent("boolean", "set", "virt_use_nfs", "off", "--yes");
  if (set.status !== 0) throw new Error(`boolean set: ${set.stderr}`);

  say(`${storage} attached: svirt-agent run web1.toml, and web2.toml`);
  const runs = guests.map(({ name, file }) => new Run(name, file));
  const [run1, run2] = await Promise.all(runs.map((run) => run.running())) as [Run, Run];
  await Promise.all([patterns(run1, web1, 0x11), patterns(run2, web2, 0x22)]);
  say(`  patterns written and read through QEMU are on the host's disk`);
  add(await attached(run1, web1, web2));
  add(await attached(run2, web2, web1));

  say(`${storage} frozen: svirt-agent snapshot create web1 root, while it writes`);
  add(await frozen(run1, web1));
  if (fence === "owner") {
    say(`${storage} frozen: svirt-agent snapshot create web2 root, with fence = "owner"`);
    add(await frozen(run2, web2));
  }
  const ends = await Promise.all([run1.stop(), run2.stop()]);
  if (ends.some((status) => status !== 0)) {
    throw new Error(`svirt-agent run: exit ${ends.join(", ")}\n${run1.output}${run2.output}`);
  }
  say(`${storage}: both stopped; labels and owners are back`);
  for (const { root, data, base } of guests) {
    for (const path of [root, data, base]) {
      const [uid, label] = (await must("stat", "-c", "%u %C", path)).trim().split(" ");
      if (uid !== "0" || label!.includes("svirt_fd")) throw new Error(`${path}: ${uid} ${label}`);
    }
  }
}

/** The log verifies, and a copy with one byte changed does not. */
async function log(): Promise<"ok"> {
  const whole = await svirtAgent("audit", "verify");
  if (whole.status !== 0) throw new Error(`audit verify: ${whole.stdout}${whole.stderr}`);
  say(whole.stdout.trim());
  const copy = LOG.replace("audit.jsonl", "changed.jsonl");
  const text = readFileSync(LOG, "utf8");
  writeFileSync(copy, text.replace('"result":"done"', '"result":"dont"'));
  await must("restorecon", copy);
  const changed = await svirtAgent("audit", "verify", copy);
  if (changed.status !== 1) throw new Error(`a changed log verifies: ${changed.stdout}`);
  for (const line of changed.stdout.trim().split("\n")) say(`  ${line}`);
  rmSync(copy);
  return "ok";
}

const { name, version } = runtime();
say(`SELinux is ${kernel.mode()}`);
await prepareHost();
for (const storage of FROM_BOOT) await onStorage(storage);
if (process.argv.includes("--boot")) {
  say("ext4 booted: a guest with a kernel of its own, from the one disk that it is handed");
  add(await booted(say));
}
const auditVerify = await log();
copyFileSync(LOG, "/out/audit.jsonl");
writeFileSync(
  "/out/result.json",
  JSON.stringify(
    {
      schemaVersion: 1,
      release: process.env["LAB_RELEASE"],
      kernel: (await must("uname", "-r")).trim(),
      qemu: /version (\S+)/.exec((await command("qemu-system-x86_64", ["--version"])).stdout)?.[1],
      runtime: `${name} ${version}`,
      enforcing: kernel.mode() === "enforcing",
      checks,
      unexpectedAvcs: [],
      auditVerify,
    },
    null,
    2,
  ),
);
process.exitCode = checks.every(({ asExpected }) => asExpected) ? 0 : 1;
