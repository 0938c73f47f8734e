/**
 * `policy install` and `policy remove` on the store of another system, by the real libsemanage: no
 * SELinux is needed. That system's policy is the part of Fedora's that our modules meet.
 *
 * @module
 */

import assert from "node:assert/strict";
import {
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, beforeEach, describe, it } from "node:test";
import { exitStatusOf } from "../../agent/command/exit_status.ts";
import { run as install } from "../../agent/command/policy_install.ts";
import { run as remove } from "../../agent/command/policy_remove.ts";
import { findStore, nameSource, wasCutShort } from "../../agent/policy/module/child.ts";

const top = mkdtempSync(join(tmpdir(), "svirt-agent-store-"));
after(() => rmSync(top, { recursive: true }));

/** A system whose policy is `fedora.cil`; its programs that check and compile are left out. */
function makeSystem(): string {
  const root = mkdtempSync(join(top, "root-"));
  const base = join(root, "var/lib/selinux/test/active/modules/100/base");
  for (const folder of [base, join(root, "var/lib/selinux/final")]) {
    mkdirSync(folder, { recursive: true });
  }
  for (const folder of ["policy", "contexts/files"]) {
    mkdirSync(join(root, "etc/selinux/test", folder), { recursive: true });
  }
  copyFileSync("test/policy/fedora.cil", join(base, "cil"));
  writeFileSync(join(base, "lang_ext"), "cil");
  writeFileSync(join(root, "etc/selinux/config"), "SELINUX=enforcing\nSELINUXTYPE=test\n");
  const without = (name: string) => `[${name}]\npath = /bin/true\nargs = $@\n[end]\n`;
  writeFileSync(
    join(root, "etc/selinux/semanage.conf"),
    `module-store = direct\n${without("setfiles")}${without("sefcontext_compile")}`,
  );
  return root;
}

let root: string;
beforeEach(() => root = makeSystem());
const active = () => join(root, "var/lib/selinux/test/active");

interface Answer {
  readonly status: number;
  readonly said: string;
}

/** Runs a command on the system; as `svirt-agent` would, errors are told and become a status. */
async function told(
  run: typeof install,
  options: Readonly<Record<string, boolean>> = {},
  ...operands: string[]
): Promise<Answer> {
  const lines: string[] = [];
  const say = (line: string) => void lines.push(line);
  try {
    const status = await run({ options: { root, ...options }, operands }, { out: say, err: say });
    return { status, said: lines.join("\n") };
  } catch (error) {
    const { message, hint } = error as Error & { hint?: string };
    const said = [...lines, message, `hint: ${hint}`].join("\n");
    return { status: exitStatusOf(error as Error), said };
  }
}

/** Every file of the store and of what is built from it, but for what a failed commit leaves. */
function contents(): string[] {
  return ["var/lib/selinux/test/active", "etc/selinux/test"].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
      .filter((it) => it.isFile())
      .map((it) => join(it.parentPath, it.name))
  ).sort().map((path) => `${path} ${readFileSync(path, "latin1")}`);
}

const NOTHING = /^nothing to do/;

describe("policy install and remove on another system's store", () => {
  it("install all three, once, and remove them, once", async () => {
    const first = await told(install);
    assert.equal(first.status, 0, first.said);
    assert.match(first.said, /module svirt_fd \w{12} is installed, priority 400/);
    assert.match(first.said, /Files are not labelled here/);
    assert.match(readFileSync(join(active(), "file_contexts"), "utf8"), /svirt_agent_exec_t/);

    const was = contents();
    const second = await told(install);
    assert.match(second.said, NOTHING);
    assert.equal(second.status, 0);
    assert.deepEqual(contents(), was);

    const third = await told(remove);
    assert.equal(third.status, 0, third.said);
    assert.match(third.said, /boolean virt_read_write_nfs goes/);
    assert.doesNotMatch(readFileSync(join(active(), "file_contexts"), "utf8"), /svirt_agent/);
    assert.match((await told(remove)).said, NOTHING);
  });

  it("change nothing with --dry-run", async () => {
    const was = contents();
    assert.match((await told(install, { "dry-run": true })).said, /svirt_fd \w{12} is installed/);
    assert.deepEqual(contents(), was);
  });

  it("leave everything as it was when a module cannot be built, and name its line", async () => {
    const folder = join(root, "modules");
    cpSync("policies/svirt_agent", folder, { recursive: true });
    const file = join(folder, "svirt_fd.cil");
    const text = readFileSync(file, "utf8");
    writeFileSync(file, `${text}(allow virt_domain no_such_t (file (read)))\n`);
    const was = contents();
    const { status, said } = await told(install, {}, folder);
    assert.equal(status, 3, said);
    assert.ok(said.includes(`${file}:${text.split("\n").length}`), said);
    assert.match(said, /Nothing was changed/);
    assert.deepEqual(contents(), was);
  });

  it("build the policy anew after a commit that was cut short, and enable what is disabled", async () => {
    assert.equal((await told(install)).status, 0);
    mkdirSync(join(root, "var/lib/selinux/test/previous"));
    const cut = await told(install);
    assert.equal(cut.status, 0, cut.said);
    assert.match(cut.said, /built anew: an earlier commit was cut short/);
    assert.match((await told(install)).said, NOTHING);

    mkdirSync(join(active(), "modules/disabled"), { recursive: true });
    writeFileSync(join(active(), "modules/disabled/svirt_fd"), "");
    assert.match((await told(install)).said, /svirt_fd \w{12} is enabled/);
    assert.match((await told(install)).said, NOTHING);
  });

  it("say where the modules are when a commit was cut short between two of its steps", async () => {
    renameSync(active(), join(active(), "../previous"));
    const { status, said } = await told(install);
    assert.equal(status, 3, said);
    assert.match(said, /hint: .* put its backup back: mv .*\/test\/\{previous,active\}/);
  });

  it("refuse to install below a copy that counts more", async () => {
    const higher = join(active(), "modules/500/svirt_fd");
    mkdirSync(higher, { recursive: true });
    writeFileSync(join(higher, "cil"), "(type svirt_fd_ro_t)\n");
    writeFileSync(join(higher, "lang_ext"), "cil");
    const { status, said } = await told(install);
    assert.equal(status, 1, said);
    assert.match(said, /another svirt_fd at priority 500/);
    assert.match(said, /hint: Remove it: semodule -X 500 -r svirt_fd/);
  });

  it("refuse to remove while a rule of semanage fcontext names a type, and change nothing", async () => {
    assert.equal((await told(install)).status, 0);
    const rule = "/srv/x\tsystem_u:object_r:svirt_fd_ro_t:s0\n/srv/y\t<<none>>\n";
    writeFileSync(join(active(), "file_contexts.local"), rule);
    const was = contents();
    const { status, said } = await told(remove);
    assert.equal(status, 1, said);
    assert.match(said, /hint: semanage fcontext -d '\/srv\/x'/);
    assert.deepEqual(contents(), was);
  });

  it("say what to install where there is no policy at all", async () => {
    rmSync(join(root, "etc/selinux/config"));
    const { status, said } = await told(install);
    assert.equal(status, 3);
    assert.match(said, /No SELinux policy is installed: .*\/etc\/selinux\/config/);
  });
});

describe("the store of policy modules", () => {
  it("is that of the policy which is configured", () => {
    assert.deepEqual(findStore(root), { root, name: "test" });
  });

  it("shows a commit that was cut short, unless it is told to keep what was before", () => {
    const place = findStore(root);
    assert(!wasCutShort(place));
    mkdirSync(join(root, "var/lib/selinux/test/previous"));
    assert(wasCutShort(place));
    writeFileSync(join(root, "etc/selinux/semanage.conf"), "save-previous = true\n");
    assert(!wasCutShort(place));
  });

  it("has its own copies of modules, in whose place the source is named", () => {
    const said = "at /var/lib/selinux/default/tmp/modules/400/svirt_fd/cil:50";
    const change = { install: [{ name: "svirt_fd", file: "/usr/share/x/svirt_fd.cil" }] };
    assert.equal(nameSource(said, change), "at /usr/share/x/svirt_fd.cil:50");
    assert.equal(nameSource(said, undefined), "at module svirt_fd (priority 400):50");
  });
});
