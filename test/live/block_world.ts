/**
 * Block devices of the lab, and a guest that has them.
 *
 * @module
 */

import assert from "node:assert/strict";
import {
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { must, svirtAgent } from "./command.ts";
import { logState, prepareHost, type Run, writeGuest } from "./world.ts";

export const FILES = "/var/lib/svirt-lab";
export const ALL_NODES = "/dev/svirt-agent";
export const NODES: string = `${ALL_NODES}/dev1`;
export const ARGS: readonly string[] = ["-machine", "q35", "-m", "32", "-display", "none"];
export const IMAGES = "/srv/ext4";
export const OVERLAY: string = `${IMAGES}/on-device.qcow2`;

/** A device of 16 MiB with one partition, and one full of 0xba. */
export let disk: string, base: string;
/** The file of a guest that writes `disk`, and an overlay on `base`, which it shares. */
export let dev1: string;
export let asBefore: string;

export const hostNodes = (): Promise<string> =>
  must("stat", "-c", "%n %t:%T %U:%G %a %C", disk, base);
const below = (path: string) => ({ path, format: "raw", shared: true });

/** Makes the devices and the guest, once for each file of tests. */
export async function prepareDevices(): Promise<void> {
  await prepareHost();
  writeFileSync("/etc/svirt-agent/agent.toml", `folders = ["${IMAGES}", "/dev"]\n`);
  await must("setsebool", "svirt_agent_use_devices", "on");
  writeFileSync(`${FILES}/block-disk`, withPartition());
  writeFileSync(`${FILES}/block-base`, new Uint8Array(16 << 20).fill(0xba));
  const made = await must(
    "/usr/libexec/svirt-lab/loop",
    `${FILES}/block-disk`,
    `${FILES}/block-base`,
  );
  [disk, base] = made.trim().split("\n") as [string, string];
  rmSync(OVERLAY, { force: true });
  const overBase = ["-u", "-b", base, "-F", "raw", OVERLAY, "16M"];
  await must("qemu-img", "create", "-q", "-f", "qcow2", ...overBase);
  dev1 = await writeGuest("dev1", [
    { name: "data", path: disk, format: "raw" },
    { name: "root", path: OVERLAY, format: "qcow2", backing: [below(base)] },
  ], ARGS);
  asBefore = await hostNodes();
}

/** 16 MiB whose first partition (of type 83) is from 1 MiB to 5 MiB. */
function withPartition(): Uint8Array {
  const bytes = new Uint8Array(16 << 20);
  const view = new DataView(bytes.buffer);
  view.setUint8(446 + 4, 0x83);
  view.setUint32(446 + 8, 2048, true);
  view.setUint32(446 + 12, 8192, true);
  view.setUint16(510, 0xaa55, true);
  return bytes;
}

/** As /dev/mapper/NAME is one. */
export function linkTo(device: string, name: string): string {
  mkdirSync("/dev/lab", { recursive: true });
  rmSync(`/dev/lab/${name}`, { force: true });
  symlinkSync(device.replace("/dev/", "../"), `/dev/lab/${name}`);
  return `/dev/lab/${name}`;
}

/** What the agent said of a guest that it did not start. */
export async function refused(file: string, status: number, ...patterns: RegExp[]): Promise<void> {
  const said = await svirtAgent("run", file);
  assert.equal(said.status, status, said.stderr);
  for (const pattern of patterns) assert.match(said.stderr, pattern);
}

/** What a running guest wrote, as root reads it on the host: QEMU's user cannot open the device. */
export async function holds(
  run: Run,
  image: string,
  top: string,
  ...what: string[]
): Promise<void> {
  await run.io(image, "flush");
  const reads = what.flatMap((it) => ["-c", `read -P ${it}`]);
  const said = await must("qemu-io", "-r", "-U", "-f", "qcow2", ...reads, top);
  assert.doesNotMatch(said, /fail|error|denied/i);
}

/** A guest with one image. */
export const guestOn = (name: string, path: string, more: object = {}): Promise<string> =>
  writeGuest(name, [{ name: "data", path, format: "raw", ...more }], ARGS);

/** Nothing is left of any guest, and the host has its devices back. */
export async function requireClear(): Promise<void> {
  assert.deepEqual(existsSync(ALL_NODES) ? readdirSync(ALL_NODES) : [], []);
  assert.equal(await hostNodes(), asBefore);
  for (const path of [disk, base]) {
    closeSync(openSync(path, constants.O_RDONLY | constants.O_EXCL));
    await must("qemu-io", "-f", "raw", "-c", "write -P 0 15M 512", path);
  }
  const { levels, grants, intents, references, temporary } = logState();
  assert.deepEqual([levels, grants, intents, references, temporary].map((it) => it.size), [
    ...[0, 0, 0, 0, 0],
  ]);
}
