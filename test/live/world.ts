import { type ChildProcess, spawn } from "node:child_process";
import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { emptyState, fold, type State } from "../../agent/audit/state.ts";
import { call, type Parameters } from "../../agent/service/varlink.ts";
import { GUEST_INTERFACE } from "../../agent/service/guest_interface.ts";
import type { Fence } from "../../agent/guest.ts";
import { command, must } from "./command.ts";

/** Where images of each kind of storage lie in the lab. */
export const STORAGE = {
  ext4: "/srv/ext4",
  xfs: "/srv/xfs",
  nfs42sec: "/srv/nfs42sec",
  nfs42: "/srv/nfs42",
  // Root is nobody there: only the images' owner can make a file in a folder of its own.
  nfs42squash: "/srv/nfs42squash/images",
  nfs3: "/srv/nfs3",
} as const;
export type Storage = keyof typeof STORAGE;

/** Those that are mounted at boot. */
export const FROM_BOOT: readonly Storage[] = ["ext4", "nfs42"];

/** Can each image there have a label of its own? */
export function keepsLabels(storage: Storage): boolean {
  return ["ext4", "xfs", "nfs42sec"].includes(storage);
}

/** QEMU's user in the lab. */
export const USER = "libvirt-qemu";
export const LOG = "/var/log/svirt-agent/audit.jsonl";

const SETTINGS = "/etc/svirt-agent";

/**
 * Settings of the host, and the booleans as an administrator of it sets them.
 *
 * @param more Storage to mount besides what is there {@linkcode FROM_BOOT}.
 */
export async function prepareHost(...more: Storage[]): Promise<void> {
  const asked = more.filter((storage) => !FROM_BOOT.includes(storage));
  if (asked.length > 0) await must("/usr/libexec/svirt-lab/storage", ...asked);
  if (asked.includes("nfs42squash")) {
    const images = onServer(STORAGE.nfs42squash);
    mkdirSync(images, { recursive: true });
    await must("chown", `${USER}:${USER}`, images);
  }
  // As the README advises where images are fenced: tests make them as root.
  delegate(false);
  mkdirSync(`${SETTINGS}/guests.d`, { recursive: true });
  const folders = [...FROM_BOOT, ...asked].map((storage) => `/srv/${storage}`);
  writeFileSync(`${SETTINGS}/agent.toml`, `folders = ${JSON.stringify(folders)}\n`);
  await must("restorecon", "-R", SETTINGS);
  await must("setsebool", "virt_use_nfs", "off");
  await must("setsebool", "virt_read_write_nfs", "on");
  await must("setsebool", "svirt_agent_set_booleans", "on");
}

/** Lets the NFS server, which is this host as well, delegate files to its clients. */
export function delegate(does: boolean): void {
  writeFileSync("/proc/sys/fs/leases-enable", does ? "1" : "0");
}

/** A guest with a qcow2 image over a base that it shares, and a raw image. */
export interface GuestFile {
  readonly name: string;
  readonly storage: Storage;
  readonly file: string;
  readonly root: string;
  readonly data: string;
  readonly base: string;
  readonly fence: Fence;
}

/** A file as the NFS server has it, for what its client's root may not do. */
function onServer(path: string): string {
  return path.replace("/srv/", "/export/");
}

/** Makes the images, as an administrator would, and the guest's file. */
export async function makeGuest(
  name: string,
  storage: Storage,
  fence: Fence = "off",
): Promise<GuestFile> {
  const folder = STORAGE[storage];
  const guest = {
    name,
    storage,
    fence,
    file: `${SETTINGS}/guests.d/${name}.toml`,
    root: `${folder}/${name}.qcow2`,
    data: `${folder}/${name}-data.raw`,
    base: `${folder}/base.raw`,
  };
  const isSquashed = storage === "nfs42squash";
  const [root, data] = isSquashed
    ? [onServer(guest.root), onServer(guest.data)]
    : [guest.root, guest.data];
  removeOverlays(name, dirname(root));
  await must("qemu-img", "create", "-q", "-f", "raw", data, "16M");
  await must("qemu-img", "create", "-q", "-f", "qcow2", "-b", guest.base, "-F", "raw", root);
  for (const path of [root, data]) chmodSync(path, 0o600);
  // The agent cannot give them to QEMU's user: they have to belong to it from the start.
  if (isSquashed) await must("chown", `${USER}:${USER}`, root, data);
  writeFileSync(guest.file, guestToml(guest));
  await must("restorecon", guest.file);
  return guest;
}

/** What snapshots of an earlier guest of this name left: `run` refuses an image below an overlay. */
function removeOverlays(name: string, folder: string): void {
  for (const file of readdirSync(folder)) {
    const isOurs = file.startsWith(`${name}.`) || file.startsWith(`${name}-data.`);
    if (isOurs && /\.\d{8}T\d{6}Z-[0-9a-f]{6}\.qcow2$/.test(file)) rmSync(join(folder, file));
  }
}

/** The base that all guests of a storage share: 16 MiB of 0xba. */
export function makeBase(storage: Storage): void {
  const folder = STORAGE[storage];
  const path = `${storage === "nfs42squash" ? onServer(folder) : folder}/base.raw`;
  writeFileSync(path, new Uint8Array(16 << 20).fill(0xba));
  chmodSync(path, 0o644);
}

function guestToml({ name, root, data, base, fence }: GuestFile): string {
  return `name = "${name}"
fence = "${fence}"

[qemu]
binary = "qemu-system-x86_64"
args = ["-machine", "q35", "-m", "32", "-display", "none"]
user = "${USER}"
accelerator = "tcg"

[[image]]
name = "root"
path = "${root}"
format = "qcow2"
backing = [{ path = "${base}", format = "raw", shared = true }]

[[image]]
name = "data"
path = "${data}"
format = "raw"
`;
}

/** Writes a guest's file with images of one's own. */
export async function writeGuest(
  name: string,
  images: readonly Readonly<Record<string, unknown>>[],
  args: readonly string[],
): Promise<string> {
  const file = `${SETTINGS}/guests.d/${name}.toml`;
  const keys = (image: Readonly<Record<string, unknown>>) =>
    Object.entries(image).map(([key, value]) => `${key} = ${toml(value)}\n`).join("");
  const qemu = { binary: "qemu-system-x86_64", args, user: USER, accelerator: "tcg" };
  const tables = [`name = "${name}"\n\n[qemu]\n${keys(qemu)}`];
  for (const image of images) tables.push(`[[image]]\n${keys(image)}`);
  writeFileSync(file, tables.join("\n"));
  await must("restorecon", file);
  return file;
}

/** A value as TOML has it: as JSON, but for tables. */
function toml(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(toml).join(", ")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  return `{ ${Object.entries(value).map(([key, it]) => `${key} = ${toml(it)}`).join(", ")} }`;
}

/** A guest under the agent: `svirt-agent run` with the tests' additions. */
export class Run {
  readonly name: string;
  readonly process: ChildProcess;
  /** Resolves with the agent's exit status, 137 for SIGKILL. */
  readonly ended: Promise<number>;
  output = "";

  constructor(
    name: string,
    file: string,
    env: Readonly<Record<string, string>> = {},
    options: readonly string[] = [],
  ) {
    this.name = name;
    this.process = spawn("/usr/sbin/svirt-agent-test", ["run", ...options, file], {
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    for (const stream of [this.process.stdout!, this.process.stderr!]) {
      stream.on("data", (chunk) => this.output += chunk);
    }
    this.ended = new Promise((resolve) =>
      this.process.on(
        "close",
        (code, signal) => resolve(code ?? (signal === "SIGKILL" ? 137 : 128)),
      )
    );
  }

  /** Until the guest runs. @throws with the agent's output when it ends before. */
  running(): Promise<this> {
    return this.reaching("Ctrl-C stops it");
  }

  /** Until the agent has said this. @throws with its output when it ends before. */
  async reaching(text: string): Promise<this> {
    const end = this.ended.then((status) => {
      throw new Error(`svirt-agent run ${this.name}: exit ${status}\n${this.output}`);
    });
    end.catch(() => {});
    while (!this.output.includes(text)) {
      await Promise.race([end, new Promise((resolve) => setTimeout(resolve, 20))]);
    }
    return this;
  }

  /** Calls a method of the guest's control socket. */
  call(method: string, parameters: Parameters = {}): Promise<Parameters> {
    const control = `/run/svirt-agent/guests/${this.name}/control`;
    return call(control, `${GUEST_INTERFACE}.${method}`, parameters);
  }

  /** Guest I/O. It answers nothing: see {@linkcode requireBytes}. */
  async io(image: string, text: string): Promise<string> {
    const { said } = await this.call("Io", { image, command: text });
    return String(said);
  }

  /** Ends agent and QEMU when a test has failed; nothing when they have ended. */
  async end(): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    this.process.kill("SIGKILL");
    // QEMU lives on, and with it the pipes that the test would wait for.
    await command("/usr/sbin/svirt-agent", ["guest", "recover", this.name, "--stop"]);
  }

  async stop(): Promise<number> {
    await this.call("Stop");
    return await this.ended;
  }
}

/**
 * What a running guest reads, read from its files on the host: HMP's `qemu-io` prints to QEMU's stdout
 * and answers nothing, whatever it found.
 *
 * @param what `0x11 0 64k`: byte, offset, length.
 */
export async function requireBytes(
  run: Run,
  image: string,
  top: string,
  ...what: readonly string[]
): Promise<void> {
  await run.io(image, "flush");
  const format = top.endsWith(".raw") ? "raw" : "qcow2";
  const reads = what.flatMap((it) => ["-c", `read -P ${it}`]);
  // As QEMU's user, whose files they are: root may not read them where the server squashes it.
  const user = ["--reuid", USER, "--regid", USER, "--init-groups"];
  const said = await must("setpriv", ...user, "qemu-io", "-r", "-U", "-f", format, ...reads, top);
  if (/fail|error|denied/i.test(said)) throw new Error(`${run.name} on ${top}: ${said.trim()}`);
}

/** What the agent's log says is so now. */
export function logState(): State {
  const state = emptyState();
  for (const line of readFileSync(LOG, "utf8").split("\n")) {
    if (line !== "") fold(state, JSON.parse(line));
  }
  return state;
}

/** Tells the lab that denials were provoked on purpose. */
export function claim(serials: Iterable<number>, reason: string): void {
  const lines = [...serials].map((serial) => `${JSON.stringify({ serial, reason })}\n`);
  appendFileSync("/out/claimed-avcs.jsonl", lines.join(""));
}
