/**
 * A guest that has taken its QEMU over: a program in its exact context and as its user, with
 * duplicates of QEMU's own descriptors, kept in every way there is. What it tries, and what has to
 * come of it, stands in hostile/table.ts.
 *
 * @module
 */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { chmodSync, openSync, readFileSync, statSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import type { Fence } from "../../agent/guest.ts";
import type { FrozenImage } from "../../agent/operation/freeze.ts";
import { OwnedFd } from "../../agent/owned_fd.ts";
import { parseContext } from "../../agent/label/context.ts";
import { type Descriptor, descriptorsOf } from "../../agent/process/descriptor.ts";
import { must, svirtAgent } from "./command.ts";
import { type Attempt, Holder, lendFrom } from "./holder.ts";
import { judge } from "./hostile/judge.ts";
import {
  ACCEPTING,
  ACROSS,
  APPENDING,
  BEFORE,
  BY_PATH,
  columnOf,
  FROZEN,
  LANDED,
  LISTENING,
  OTHER_PROCESS,
  RECEIVED,
  REFUSED_WAYS,
  type Row,
} from "./hostile/table.ts";
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

/** Lets every user do everything with these, so that SELinux is what decides; disposing undoes it. */
function openToAll(paths: readonly string[]): Disposable {
  const modes = paths.map((path) => statSync(path).mode & 0o7777);
  for (const path of paths) chmodSync(path, 0o777);
  return {
    [Symbol.dispose]() {
      for (const [i, path] of paths.entries()) chmodSync(path, modes[i]!);
    },
  };
}

const CASES: readonly (readonly [Storage, Fence])[] = [
  ["ext4", "off"],
  ["nfs42", "off"],
  ["nfs42", "owner"],
];

for (const [storage, fence] of CASES) {
  const column = columnOf(storage, fence);
  describe(`a guest that has taken over its QEMU on ${storage} (${column})`, () => {
    let web1: GuestFile, web2: GuestFile;
    let run1: Run, run2: Run;
    let pid1: number, pid2: number;
    let holder: Holder, other: Holder;
    /** What `$NAME` in the table stands for. */
    const names: Record<string, string | number> = {};
    let child: string, thread: string;
    let untouched: string;

    async function start(guest: GuestFile): Promise<[Run, number, Holder]> {
      const run = await new Run(guest.name, guest.file).running();
      const { verdict } = await run.call("Verify") as {
        verdict: { pid: number; context: string };
      };
      return [run, verdict.pid, await Holder.start(verdict.context, USER)];
    }

    function heldBy(pid: number, path: string, access: "ro" | "rw"): Descriptor {
      const found = descriptorsOf(pid).find((fd) => fd.path === path && fd.access === access);
      assert.ok(found, `QEMU holds ${path} ${access}`);
      return found;
    }

    /** Tries every row and compares all answers with the table at once. */
    async function meets(
      rows: readonly Row[],
      how: string,
      attempt: (command: string) => Promise<Attempt>,
    ): Promise<void> {
      const attempts: Record<string, Attempt> = {};
      for (const { what, command } of rows) {
        attempts[what] = await attempt(
          command.replace(/\$(\w+)/g, (_, name) => {
            assert.ok(name in names, `$${name} is known`);
            return String(names[name]);
          }),
        );
      }
      const expected = Object.fromEntries(rows.map((row) => [row.what, row[column]]));
      const reason = `${storage} (${column}): hostile holder, ${how}`;
      assert.deepEqual(await judge(attempts, expected, reason), expected);
    }

    /** Bytes, size, owner, mode and label of everything that the holder may not change. */
    async function look(): Promise<string> {
      const paths = [web1.root, web1.base, web2.root, web2.data, "/etc/svirt-agent/agent.toml"];
      const digest = (path: string) =>
        createHash("sha256").update(readFileSync(path)).digest("hex");
      return await must("stat", "-c", "%n %i %h %s %u:%g %a %C", ...paths) +
        paths.map(digest).join("\n");
    }

    before(async () => {
      await prepareHost();
      makeBase(storage);
      web1 = await makeGuest("web1", storage, fence);
      web2 = await makeGuest("web2", storage, fence);
      [[run1, pid1, holder], [run2, pid2, other]] = await Promise.all([start(web1), start(web2)]);
      names["fd"] = await holder.take(pid1, heldBy(pid1, web1.root, "rw").number);
      names["data"] = await holder.take(pid1, heldBy(pid1, web1.data, "rw").number);
    });

    after(async () => {
      for (const it of [holder, other]) it?.[Symbol.dispose]();
      for (const run of [run1, run2]) await run?.end();
    });

    it("can do what it may, before a snapshot", async () => {
      await meets(BEFORE, "before", (command) => holder.attempt(command));
    });

    it("cannot keep a descriptor where a relabel would not reach it", async () => {
      await meets(REFUSED_WAYS, "keeping", (command) => holder.attempt(command));
    });

    it("keeps its descriptor in a child, in a thread and in flight, and the image is frozen", async () => {
      child = await holder.ask("fork");
      thread = await holder.ask("thread");
      for (const worker of [child, thread]) {
        await meets(BEFORE, "before", (command) => holder.attempt(command, worker));
      }
      const flying = await holder.ask(`dup ${names["fd"]}`);
      assert.equal(await holder.ask(`flight ${flying}`), "0");

      const { status, stdout, stderr } = await svirtAgent(
        "snapshot",
        "create",
        "web1",
        "root",
        "--json",
      );
      assert.equal(status, 0, stderr);
      const [frozen] = JSON.parse(stdout).images as FrozenImage[];
      const level = parseContext(holder.context).level;
      Object.assign(names, {
        top: frozen!.overlay,
        root: web1.root,
        base: web1.base,
        data_path: web1.data,
        beside: `${web1.root}.beside`,
        link: `/proc/${pid1}/fd/${heldBy(pid1, web1.root, "ro").number}`,
        writable: `system_u:object_r:svirt_fd_image_t:${level}`,
        other: pid2,
        other_fd: heldBy(pid2, web2.root, "rw").number,
        other_root: web2.root,
        other_data: web2.data,
        agent: run1.process.pid!,
        log: LOG,
        settings: "/etc/svirt-agent/agent.toml",
        guest_file: web1.file,
        control: "/run/svirt-agent/guests/web1/control",
        other_control: "/run/svirt-agent/guests/web2/control",
        other_monitor: "/run/svirt-agent/guests/web2/monitor",
        cgroup: "/sys/fs/cgroup/svirt-agent/web1",
        other_cgroup: "/sys/fs/cgroup/svirt-agent/web2",
      });
      untouched = await look();
    });

    for (const way of ["of its own", "in a child", "in a thread with its own table"]) {
      it(`tries everything on the frozen image, by the descriptor ${way}`, async () => {
        const worker = way === "in a child" ? child : way.includes("thread") ? thread : undefined;
        await meets(FROZEN, way, (command) => holder.attempt(command, worker));
      });
    }

    it("does not get back what it had in flight where its label decides", async () => {
      await meets(LANDED, "in flight", (command) => holder.attempt(command));
    });

    it("cannot append either", async () => {
      await meets(APPENDING, "appending", (command) => holder.attempt(command));
    });

    it("gets nowhere by path, its own files included, whatever the modes are", async () => {
      const run = "/run/svirt-agent";
      using _open = openToAll([
        ...[web1.root.replace(/\/[^/]*$/, ""), web1.base, web1.root, web1.data],
        ...[web2.root, web2.data, "/var/log/svirt-agent", LOG, web1.file],
        ...["/etc/svirt-agent/agent.toml", run, `${run}/guests`],
        ...["web1", "web2"].flatMap((name) => [
          `${run}/guests/${name}`,
          `${run}/guests/${name}/control`,
          `${run}/guests/${name}/monitor`,
          `/sys/fs/cgroup/svirt-agent/${name}`,
          ...["cgroup.procs", "cgroup.kill", "cgroup.freeze"].map((file) =>
            `/sys/fs/cgroup/svirt-agent/${name}/${file}`
          ),
        ]),
      ]);
      await meets(BY_PATH, "by path", (command) => holder.attempt(command));
    });

    it("gets nowhere with the other guest's process, which has the same user", async () => {
      await meets(OTHER_PROCESS, "other process", (command) => holder.attempt(command));
    });

    it("finds no way to hand the other guest a descriptor", async () => {
      await meets(LISTENING, "listening", (command) => holder.attempt(command));
      names["its_base"] = await other.take(pid2, heldBy(pid2, web2.base, "ro").number);
      await meets(ACROSS, "across", (command) => other.attempt(command));
      await meets(ACCEPTING, "across", (command) => holder.attempt(command));
    });

    it("is not given what another guest may have, or what it may no longer have", async () => {
      const lent: Record<string, OwnedFd> = {
        other_rw: lendFrom(pid2, heldBy(pid2, web2.root, "rw").number),
        other_ro: lendFrom(pid2, heldBy(pid2, web2.root, "ro").number),
        other_base: lendFrom(pid2, heldBy(pid2, web2.base, "ro").number),
        log: new OwnedFd(openSync(LOG, "r+"), LOG),
      };
      await meets(RECEIVED, "received", async (command) => {
        const copy = lent[command.split(" ")[1]!]!;
        const attempt = await holder.attempt("recv", undefined, copy);
        return attempt;
      });
    });

    it("has changed nothing: bytes, size, owner, mode and label, and both guests run", async () => {
      assert.equal(await look(), untouched);
      for (const it of [holder, other]) it[Symbol.dispose]();
      for (const [run, name] of [[run1, "web1"], [run2, "web2"]] as const) {
        assert.equal(run.process.exitCode, null, `${name}: ${run.output}`);
        await settled(name);
        assert.equal(await run.stop(), 0, run.output);
      }
      // Whoever makes an image of this name next starts without it.
      await must("rm", String(names["top"]));
    });

    /** The holders are strangers with the guest's categories until they have ended. */
    async function settled(name: string): Promise<void> {
      const deadline = Date.now() + 5000;
      for (;;) {
        const { status, stdout } = await svirtAgent("verify", name);
        if (status === 0) return;
        assert.ok(Date.now() < deadline, stdout);
      }
    }
  });
}
