import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { AvcReader } from "../../agent/audit/avc_reader.ts";
import { explain, type Explanation, type Sources } from "../../agent/policy/explain/explain.ts";
import { threeLines } from "../../agent/policy/explain/report.ts";
import { asker } from "../../agent/policy/explain/said_no.ts";
import { compiled, readCil } from "../policy/compile.ts";

/** `svirt_t:c1,c2 nfs_t file open`: who, on what, class, permissions; more as the record has it. */
function line(text: string, more = "", time = "100.000"): string {
  const [source, target, tclass, ...permissions] = text.split(" ") as [string, string, string];
  const context = (short: string, role: string) => {
    const [type, level] = short.split(":");
    const range = level === undefined ? "s0" : level.startsWith("s0") ? level : `s0:${level}`;
    return `system_u:${role}:${type}:${range}`;
  };
  const isProcess = ["process", "fd", "unix_stream_socket"].includes(tclass);
  return `type=AVC msg=audit(${time}:1): avc:  denied  { ${permissions.join(" ")} } for  pid=1 ` +
    `comm="qemu" ${more} scontext=${context(source, "system_r")} ` +
    `tcontext=${
      context(target, isProcess ? "system_r" : "object_r")
    } tclass=${tclass} permissive=0`;
}

function explained(lines: string | readonly string[], sources: Sources = {}): Explanation[] {
  const reader = new AvcReader();
  for (const it of [lines].flat()) reader.take(it);
  return explain(reader.end().denials, sources);
}

/** What is said of one denial, without a policy. */
function only(text: string, more = ""): Explanation {
  return explained(line(text, more))[0]!;
}

describe("what is the product working", () => {
  // deno-fmt-ignore
  const PREDICTED: readonly (readonly [denial: string, by: string, promise: string])[] = [
    ["svirt_t:c1,c2 svirt_fd_image_t:c1,c2 file open",      "image-inherited",     "promise 1"],
    ["svirt_t:c1,c2 svirt_fd_image_t:c1,c2 file map",       "image-inherited",     "promise 1"],
    ["svirt_t:c1,c2 svirt_fd_ro_t file lock",               "image-inherited",     "promise 1"],
    ["svirt_tcg_t:c1,c2 svirt_fd_ro_t file setattr",        "image-inherited",     "promise 1"],
    ["svirt_t:c1,c2 svirt_fd_ro_t:c1,c2 file relabelfrom",  "image-inherited",     "promise 1"],
    ["svirt_t:c1,c2 svirt_fd_ro_t:c1,c2 file write",        "frozen-descriptor",   "promise 3"],
    ["svirt_prot_exec_t:c1,c2 svirt_fd_ro_t file append",   "frozen-descriptor",   "promise 3"],
    ["svirt_t:c1,c2 svirt_fd_image_t:c1,c2 file ioctl",     "image-ioctl",         "promise 2"],
    ["svirt_t:c1,c2 nfs_t file open",                       "storage-inherited",   "promise 1"],
    ["svirt_t:c1,c2 cifs_t file map",                       "storage-inherited",   "promise 1"],
    ["svirt_t:c1,c2 fusefs_t file unlink",                  "storage-inherited",   "promise 1"],
    ["svirt_t:c1,c2 nfs_t dir search",                      "storage-folder",      "promise 1"],
    ["svirt_t:c1,c2 svirt_image_t:c3,c4 file read write",   "other-guest-file",    "promise 2"],
    ["svirt_t:c1,c2 svirt_fd_ro_t:c3,c4 file write",        "other-guest-file",    "promise 2"],
    ["svirt_t:c1,c2 svirt_t:c3,c4 process ptrace",          "other-guest-process", "promise 2"],
    ["svirt_t:c1,c2 svirt_tcg_t:c3 unix_stream_socket connectto", "other-guest-process", "promise 2"],
    ["svirt_t:c1,c2 svirt_agent_log_t file read write",     "agent-files",         "promise 5"],
    ["svirt_t:c1,c2 svirt_agent_runtime_t sock_file write", "agent-files",         "promise 5"],
    ["svirt_t:c1,c2 svirt_agent_t:s0-s0:c0.c1023 process signal", "agent-process", "promise 5"],
    ["svirt_t:c1,c2 security_t security setbool",           "policy-and-audit",    "promise 5"],
    ["svirt_t:c1,c2 auditd_log_t file append",              "policy-and-audit",    "promise 5"],
    ["unconfined_t:s0-s0:c0.c1023 svirt_fd_image_t:c1,c2 file read", "image-administrator", "promise 2"],
  ];
  for (const [denial, id, promise] of PREDICTED) {
    it(`${denial}: ${promise}, ${id}`, () => {
      const { prediction, advice } = only(denial);
      assert.equal(prediction?.id, id);
      assert.equal(advice.meaning, "working");
      assert.match(
        advice.text,
        new RegExp(`^nothing, this denial is the product working \\(${promise},`),
      );
    });
  }

  // deno-fmt-ignore
  const NOT: readonly string[] = [
    "svirt_t:c1,c2 svirt_fd_image_t:c1,c2 file write",       // it cannot use what it was handed
    "svirt_t:c1,c2 svirt_fd_ro_t file read",
    "svirt_t:c1,c2 svirt_fd_ro_t file read write",           // writing is, reading is not
    "svirt_t:c1,c2 nfs_t file read",
    "svirt_t:c1,c2 nfs_t file write",
    "svirt_t:c1,c2 virt_image_t file read",
    "svirt_t:c1,c2 svirt_t:c1,c2 process ptrace",            // itself
    "svirt_t:c1,c2 svirt_image_t:c1 file read",              // its own categories
    "svirt_agent_t:s0-s0:c0.c1023 svirt_fd_ro_t file open",  // the agent has to
    "virtd_t:s0-s0:c0.c1023 nfs_t file open",
  ];
  for (const denial of NOT) {
    it(`is not ${denial}`, () => {
      const { prediction, advice } = only(denial);
      assert.deepEqual([prediction, advice.meaning], [undefined, "look"]);
    });
  }

  for (
    const denial of [
      "svirt_t:c1,c2 sysfs_t file read",
      "svirt_t:c1,c2 sysctl_vm_t dir search",
      "svirt_tcg_t:c1,c2 svirt_tcg_t:c1,c2 anon_inode create",
    ]
  ) {
    it(`is not, but harmless: ${denial}`, () => {
      assert.equal(only(denial).advice.meaning, "harmless");
    });
  }
});

describe("what to do", () => {
  const SMALL = compiled(readCil("test/policy/small.cil"));
  const FEDORA = compiled(readCil("test/policy/fedora.cil"));
  const RULES = /\(allow |audit2allow/;

  it("never suggests a rule for a guest", () => {
    for (
      const target of ["default_t", "svirt_fd_image_t:c1,c2", "nfs_t", "tmp_t", "virt_image_t"]
    ) {
      for (const tclass of ["file", "dir", "sock_file"]) {
        const { advice } = only(`svirt_t:c1,c2 ${target} ${tclass} read`);
        assert.doesNotMatch(advice.text, RULES, `${target} ${tclass}`);
      }
    }
  });

  it("names the promise that it would break to allow it", () => {
    assert.match(only("svirt_t:c1,c2 default_t file read").advice.text, /promise 2, nobody else's/);
  });

  it("says that the guest cannot use what it was handed, and how to mend it", () => {
    const { advice } = only("svirt_t:c1,c2 svirt_fd_image_t:c1,c2 file write");
    assert.match(advice.text, /cannot use what it was handed: install the agent's modules again/);
  });

  it("names the module whose type is gone", () => {
    const { advice } = only("svirt_t unlabeled_t file read");
    assert.match(advice.text, /^give it a label/);
    const gone = line("svirt_t unlabeled_t file read")
      .replace("tclass=", 'trawcon="system_u:object_r:svirt_gone_t:s0" tclass=');
    assert.match(explained(gone)[0]!.advice.text, /install the module .*svirt_gone_t/);
  });

  it("leaves a boolean off that would open every guest's image", () => {
    const [it] = explained(line("svirt_t:c1,c2 nfs_t file open"), {
      ask: asker(FEDORA, []),
      db: FEDORA.db,
    });
    assert.deepEqual([it!.refusal.by, it!.refusal.booleans], ["boolean", ["virt_use_nfs=on"]]);
    assert.match(it!.advice.text, /^nothing, .* leave virt_use_nfs off/);
  });

  it("says what else a boolean opens, where one may be switched", () => {
    const sources = { ask: asker(SMALL, []), db: SMALL.db };
    const [it] = explained(line("guest_t:c1 nfs_t file open"), sources);
    assert.match(
      it!.advice.text,
      /^setsebool -P use_nfs on, if every guest_t is to have all that it opens: /,
    );
    assert.match(it!.advice.text, /nfs_t:file/);
  });

  it("does not say that no state of booleans allows what several of them would", () => {
    const text = readCil("test/policy/small.cil").text.replace("no_nfs false", "no_nfs true");
    const blocked = compiled({ name: "blocked", text });
    const [it] = explained(line("guest_t:c1 nfs_t file open"), { ask: asker(blocked, []) });
    assert.equal(
      it!.refusal.text,
      "no rule allows open as booleans are; where use_nfs && !no_nfs, one does",
    );
  });

  it("says of what the policy allows now that it was another one", () => {
    const [it] = explained(line("svirt_t:c1,c2 nfs_t file read"), { ask: asker(FEDORA, []) });
    assert.deepEqual([it!.refusal.answer, it!.advice.meaning], ["allowed", "past"]);
  });

  it("asks who changed the policy where it allows by now what a promise forbids", () => {
    const open = compiled({
      name: "broken",
      text: readCil("test/policy/fedora.cil").text + "(allow svirt_t nfs_t (file (open)))",
    });
    const [it] = explained(line("svirt_t:c1,c2 nfs_t file open"), { ask: asker(open, []) });
    assert.equal(it!.advice.meaning, "look");
    assert.match(it!.advice.text, /allows by now what promise 1, .* forbids/);
  });
});

describe("what said no, with booleans as they were", () => {
  const FEDORA = compiled(readCil("test/policy/fedora.cil"));
  const open = (time: string) => line("svirt_t:c1,c2 nfs_t file open", "", time);
  const switched = (time: string, from: number, to: number) =>
    `type=MAC_CONFIG_CHANGE msg=audit(${time}:2): bool=virt_use_nfs val=${to} old_val=${from} auid=0`;

  function refusal(...lines: string[]) {
    const reader = new AvcReader();
    for (const it of lines) reader.take(it);
    const { denials, changes } = reader.end();
    return explain(denials, { ask: asker(FEDORA, changes) })[0]!.refusal;
  }

  // deno-fmt-ignore
  const CASES: readonly (readonly [what: string, lines: readonly string[], by: string])[] = [
    ["as the policy has it",                  [open("10.000")],                               "boolean"],
    ["switched on before",                    [switched("5.000", 0, 1), open("10.000")],      "allowed"],
    ["switched on after",                     [open("10.000"), switched("15.000", 0, 1)],     "boolean"],
    ["switched off after: it was on",         [open("10.000"), switched("15.000", 1, 0)],     "allowed"],
    ["on and off again before",
      [switched("5.000", 0, 1), switched("6.000", 1, 0), open("10.000")],                     "boolean"],
  ];
  for (const [what, lines, by] of CASES) {
    it(`${what}: ${by}`, () => assert.equal(refusal(...lines).by, by));
  }

  it("says what has changed since", () => {
    const { text } = refusal(switched("5.000", 0, 1), open("10.000"), switched("15.000", 1, 0));
    assert.match(text, /since then virt_use_nfs went off$/);
  });
});

describe("denials that are the same", () => {
  it("are one kind, whatever guest, file and time", () => {
    const kinds = explained([
      line("svirt_t:c1,c2 svirt_fd_image_t:c1,c2 file open", 'path="/a"', "100.000"),
      line("svirt_t:c3,c4 svirt_fd_image_t:c3,c4 file open", 'path="/b"', "160.000"),
    ]);
    assert.equal(kinds.length, 1);
    assert.equal(
      kinds[0]!.tried,
      'a guest (svirt_t c1,c2 or c3,c4; qemu) tried to open file "/a", "/b" (svirt_fd_image_t ' +
        "c1,c2 or c3,c4): 2 times, 1970-01-01 00:01:40Z to 00:02:40Z",
    );
  });

  it("are another kind on another guest's file", () => {
    const kinds = explained([
      line("svirt_t:c1,c2 svirt_fd_image_t:c1,c2 file open"),
      line("svirt_t:c1,c2 svirt_fd_image_t:c3,c4 file open"),
    ]);
    assert.deepEqual(kinds.map(({ prediction }) => prediction?.id), [
      "image-inherited",
      "other-guest-file",
    ]);
  });

  it("come with what needs somebody first", () => {
    const kinds = explained([
      line("svirt_t:c1,c2 sysfs_t file read"),
      line("svirt_t:c1,c2 nfs_t file open"),
      line("svirt_t:c1,c2 nfs_t file open").replace("permissive=0", "permissive=1"),
      line("svirt_t:c1,c2 default_t file read"),
    ]);
    const meanings = kinds.map(({ advice }) => advice.meaning);
    assert.deepEqual(meanings, ["look", "not-denied", "working", "harmless"]);
  });

  it("paint no terminal: names are a guest's to choose, and labels an administrator's of another host", () => {
    const harmful = (text: string) => Buffer.from(text).toString("hex").toUpperCase();
    const name = harmful("/srv/\x1b[2J\u202e.raw");
    const label = harmful("system_u:object_r:\x1b[2J_t:s0");
    const denial = line("svirt_t:c1,c2 unlabeled_t file open", `path=${name}`) +
      ` trawcon=${label}`;
    const lines = explained(denial).flatMap(threeLines);
    assert.match(lines[0]!, /\\u\{1b\}/);
    assert.match(lines[2]!, /\\u\{1b\}/);
    for (const it of lines) assert.doesNotMatch(it, /[\p{Cc}\u202e]/u);
  });
});
