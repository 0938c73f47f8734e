import { type ChildProcess, spawn } from "node:child_process";
import { appendFileSync, chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { emptyState, fold, type State } from "../../agent/audit/state.ts";
import { call, type Parameters } from "../../agent/service/varlink.ts";
import { GUEST_INTERFACE } from "../../agent/service/guest_interface.ts";
import type { Fence } from "../../agent/guest.ts";
import { must } from "./command.ts";

/** Where images of each kind of storage lie in the lab. */
export const STORAGE = { ext4: "/srv/ext4", nfs42: "/srv/nfs42" } as const;
export type Storage = keyof typeof STORAGE;

/** QEMU's user in the lab. */
export const USER = "libvirt-qemu";
export const LOG = "/var/log/svirt-agent/audit.jsonl";

const SETTINGS = "/etc/svirt-agent";

/** Settings of the host, and the booleans as an administrator of it sets them. */
export async function prepareHost(): Promise<void> {
  mkdirSync(`${SETTINGS}/guests.d`, { recursive: true });
  writeFileSync(`${SETTINGS}/agent.toml`, `folders = ${JSON.stringify(Object.values(STORAGE))}\n`);
  await must("restorecon", "-R", SETTINGS);
  await must("setsebool", "virt_use_nfs", "off");
  await must("setsebool", "virt_read_write_nfs", "on");
  await must("setsebool", "svirt_agent_set_booleans", "on");
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
  await must("qemu-img", "create", "-q", "-f", "raw", guest.data, "16M");
  await must("qemu-img", "create", "-q", "-f", "qcow2", "-b", guest.base, "-F", "raw", guest.root);
  for (const path of [guest.root, guest.data]) chmodSync(path, 0o600);
  writeFileSync(guest.file, guestToml(guest));
  await must("restorecon", guest.file);
  return guest;
}

/** The base that all guests of a storage share: 16 MiB of 0xba. */
export function makeBase(storage: Storage): void {
  const path = `${STORAGE[storage]}/base.raw`;
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

  /** Guest I/O; answers what qemu-io said. */
  async io(image: string, text: string): Promise<string> {
    const { said } = await this.call("Io", {
      device: `/machine/peripheral/${image}-device/virtio-backend`,
      command: text,
    });
    return String(said);
  }

  async stop(): Promise<number> {
    await this.call("Stop");
    return await this.ended;
  }
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
