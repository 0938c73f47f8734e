import { join } from "node:path";
import { Deno } from "#deno";
import { AuditLog } from "../../agent/audit/log.ts";
import type { Host } from "../../agent/host.ts";
import { Folder } from "../../agent/image/folder.ts";
import { type Context, formatContext } from "../../agent/label/context.ts";
import type { Selinux } from "../../agent/label/selinux.ts";
import type { SelinuxStatus } from "../../agent/label/status.ts";
import type { Identity, OwnedFd } from "../../agent/owned_fd.ts";
import { startTimeOf } from "../../agent/process/contexts.ts";

/** What a file has whose label nobody changed. */
export const UNTOUCHED: Context = {
  user: "system_u",
  role: "object_r",
  type: "virt_image_t",
  level: "s0",
};

/** A kernel that keeps labels in memory, by file. */
export class FakeSelinux implements Selinux {
  readonly labels: Map<Identity, Context> = new Map();
  enforcement: ReturnType<Selinux["mode"]> = "enforcing";
  /** Goes up with each policy load and each commit of booleans. */
  policyLoad = 1;
  /** Types that the policy knows; undefined is all. */
  types: readonly string[] | undefined;

  mode(): ReturnType<Selinux["mode"]> {
    return this.enforcement;
  }
  ownContext(): Context {
    return { user: "system_u", role: "system_r", type: "svirt_agent_t", level: "s0" };
  }
  processContext(): Context | undefined {
    return undefined;
  }
  readLabel(fd: OwnedFd): Context | undefined {
    return this.labels.get(fd.identity) ?? UNTOUCHED;
  }
  writeLabel(fd: OwnedFd, label: Context): void {
    this.labels.set(fd.identity, label);
  }
  knows({ type }: Context): boolean {
    return this.types?.includes(type) ?? true;
  }
  status(): SelinuxStatus | undefined {
    return { enforcing: this.enforcement === "enforcing", policyLoad: this.policyLoad };
  }
  creatingAs<T>(_label: Context, action: () => T): T {
    return action();
  }
}

/** A host in a temporary folder: real files and a real log, and a kernel in memory. */
export class FakeHost implements Host, Disposable {
  readonly folder: string = Deno.makeTempDirSync({ prefix: "svirt-agent-" });
  readonly folders: Folder[];
  readonly log: AuditLog;
  readonly selinux: FakeSelinux = new FakeSelinux();
  readonly agent: Host["agent"] = { pid: process.pid, startTime: startTimeOf(process.pid)! };
  readonly avcs: undefined = undefined;
  readonly settings: Host["settings"];
  /** Booleans that are on. */
  readonly on: Set<string> = new Set();
  /** Names of booleans that the policy has. */
  known: readonly string[] = ["virt_use_nfs"];
  readonly booleans: Host["booleans"] = {
    read: (name) => {
      const active = this.on.has(name);
      return { name, active, pending: active, persistent: null };
    },
    all: () => new Map(this.known.map((name) => [name, this.on.has(name)])),
    write: (name, value) => void (value ? this.on.add(name) : this.on.delete(name)),
  };
  readonly policy: Host["policy"] = {
    access: () => ({ permissive: false, decide: () => ({ answer: "unknown", by: "unknown" }) }),
  };

  constructor() {
    this.folders = [Folder.open(this.folder)];
    this.log = AuditLog.open(join(this.folder, "audit.jsonl"));
    this.settings = {
      folders: [this.folder],
      audit: { folder: this.folder },
      categories: { low: 0, high: 1023 },
      boolean: "ask",
      onBooleanOn: "report",
      fence: "off",
      runtimeFolder: join(this.folder, "run"),
    };
  }

  /** Makes a file; answers its path. */
  file(name: string, content: string | Uint8Array = ""): string {
    const path = join(this.folder, name);
    const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
    Deno.writeFileSync(path, bytes);
    return path;
  }

  /** The label that the kernel in memory has for a file. */
  label(identity: Identity): string {
    return formatContext(this.selinux.labels.get(identity) ?? UNTOUCHED);
  }

  [Symbol.dispose](): void {
    this.log[Symbol.dispose]();
    for (const folder of this.folders) folder[Symbol.dispose]();
    Deno.removeSync(this.folder, { recursive: true });
  }
}
