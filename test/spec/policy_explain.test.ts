import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { findCommand } from "../../agent/command/find.ts";
import { parse } from "../../agent/command/parse.ts";
import { run } from "../../agent/command/policy_explain.ts";
import { equalsGolden, goldenFile } from "../fakes/golden.ts";
import { compile, MODULES, readCil } from "../policy/compile.ts";

const folder = mkdtempSync(join(tmpdir(), "policy-explain-"));
const policy = join(folder, "policy.33");
writeFileSync(policy, compile(["test/policy/fedora.cil", ...MODULES].map(readCil)));
after(() => rmSync(folder, { recursive: true }));

/** Records of the lab, with the names that Fedora's policy has; the last seven were added by hand. */
const LOG = goldenFile("explain_audit", "log");
const LINE = readFileSync(LOG, "utf8").split("\n").find((line) => line.includes(":35)"))!;

interface Ended {
  readonly status: number;
  readonly out: string;
  readonly err: string;
}

/** What `policy explain` prints, and its exit status. */
async function explain(...typed: string[]): Promise<Ended> {
  const { command, rest } = findCommand(["policy", "explain", ...typed]);
  const [out, err]: [string[], string[]] = [[], []];
  const terminal = { out: (line: string) => out.push(line), err: (line: string) => err.push(line) };
  const status = await run(parse(command, rest), terminal);
  return { status, out: out.join("\n") + "\n", err: err.join("\n") };
}

/** A file in this test's folder. */
function write(name: string, text: string): string {
  const file = join(folder, name);
  writeFileSync(file, text);
  return file;
}

/** The output without the folder of this run. */
function placed({ out }: Ended): string {
  return out.replaceAll(policy, "policy.33").replaceAll(`${folder}/`, "");
}

describe("svirt-agent policy explain", () => {
  it("answers each kind of denial in three lines: test/golden/explain.txt", async () => {
    const ended = await explain("--policy", policy, LOG);
    equalsGolden(placed(ended), "explain", "txt");
  });

  it("prints a document of schema version 1 as JSON: test/golden/explain.json", async () => {
    const ended = await explain("--policy", policy, LOG, "--json");
    equalsGolden(placed(ended), "explain", "json");
  });

  it("exits with 3 where the policy lacks what was denied, and names it", async () => {
    const { status, out } = await explain("--policy", policy, LOG);
    assert.equal(status, 3);
    assert.match(out, /policy\.33 has no type "unit_t"/);
  });

  it("exits with 0 where all is explained", async () => {
    assert.equal((await explain("--policy", policy, LINE)).status, 0);
  });

  it("takes a denial as an argument", async () => {
    const { out } = await explain("--policy", policy, LINE.slice(LINE.indexOf("avc:")));
    assert.match(out, /^a guest \(svirt_tcg_t c1,c2; qemu-system-x86\) tried to open file/);
  });

  it("says who had the file, and how, by the agent's log", async () => {
    const seal = { seq: 1, time: "2026-11-21T12:51:36.000Z", prev: "", hash: "" };
    const level = { kind: "level", level: "s0:c1,c2" };
    const path = "/srv/ext4/web1.qcow2";
    const records = [
      { ...seal, event: "intent", guest: "web1", operation: "attach", undo: [level] },
      { ...seal, event: "grant", guest: "web1", path, mode: "rw" },
    ];
    const log = write("audit.jsonl", records.map((it) => JSON.stringify(it)).join("\n") + "\n");
    const { out } = await explain("--policy", policy, "--log", log, LINE);
    assert.match(out, /^guest web1 /);
    assert.match(out, /by the agent's log it is its own \(handed over read-write\)/);
  });

  it("counts lines that are no denials, and finds none among them", async () => {
    const file = write("other.log", "type=LOGIN msg=audit(1.000:1): pid=1\nhello\n\n");
    const { status, out } = await explain("--policy", policy, file);
    assert.deepEqual([status, out], [0, "no denials; 2 of 2 lines are about none\n"]);
  });

  for (
    const [what, args, message] of [
      ["half a denial", ["avc:  denied  { open } for  pid=1"], /no whole denial/],
      ["a log that is not there", ["/no/such/audit.log"], /ENOENT.*\/no\/such\/audit\.log/],
      ["a policy that is not there", ["-p", "/no/such/policy", LINE], /\/no\/such\/policy/],
      ["an agent's log that is not there", ["-p", policy, "--log", "/no/such", LINE], /\/no\/such/],
    ] as const
  ) {
    it(`refuses ${what}, with a hint`, async () => {
      await assert.rejects(explain(...args), (error: Error & { hint?: string }) => {
        assert.equal(error.name, "UsageError");
        assert.match(error.message, message);
        assert.ok(error.hint);
        return true;
      });
    });
  }
});

describe("svirt-agent policy explain --assertions", () => {
  const SEED = LINE.replace("svirt_fd_image_t:s0:c1,c2", "user_home_dir_t:s0").replace(
    "open",
    "write",
  );
  const assertion = (more: string) =>
    write("own.toml", `[[assertion]]\nid = "no-homes"\ndesc = "No guest writes homes"\n${more}\n`);
  const HOMES = 'source = "virt_domain"\ntarget = "user_home_dir_t"\nclass = "file"\n';

  it("names the invariants of sVirt that say so, too", async () => {
    const { out } = await explain("-p", policy, LINE);
    assert.match(out, /\[image-inherited, .*own-fd-image/);
  });

  for (
    const [what, more, working] of [
      ["never allows it", `${HOMES}never = ["write"]`, true],
      ["allows only something else", `${HOMES}only = ["getattr"]`, true],
      ["names another permission", `${HOMES}never = ["read"]`, false],
      [
        "speaks of other categories",
        `${HOMES}relation = "other-categories"\nnever = ["write"]`,
        false,
      ],
      [
        "leaves this type out",
        HOMES.replace('"virt_domain"', '["*", "-virt_domain"]') + 'never = ["write"]',
        false,
      ],
      ["is not asked", `${HOMES}never = ["write"]\ndisable = "later"`, false],
    ] as const
  ) {
    it(`an assertion that ${what} ${working ? "predicts" : "does not predict"} a denial`, async () => {
      const { out } = await explain("-p", policy, "--assertions", assertion(more), SEED, "--json");
      const { meaning, predictedBy } = JSON.parse(out).denials[0];
      assert.equal(meaning, working ? "working" : "look");
      assert.equal(predictedBy?.id, working ? "no-homes" : undefined);
    });
  }

  it("never predicts a denial of the agent: its domain has what it needs", async () => {
    const agent = SEED.replace("svirt_tcg_t:s0:c1,c2", "svirt_agent_t:s0");
    const own = assertion(HOMES.replace("virt_domain", "svirt_agent_t") + 'never = ["write"]');
    const { out } = await explain("-p", policy, "--assertions", own, agent, "--json");
    const { meaning, assertedBy } = JSON.parse(out).denials[0];
    assert.equal(meaning, "look");
    assert.ok(assertedBy.includes("no-homes"));
  });
});

describe("svirt-agent policy explain without a policy", () => {
  const skip = process.platform !== "linux" ? "no /sys" : false;
  it(
    "knows what is the product working all the same, and says what it did not ask",
    { skip },
    async () => {
      const { status, out, err } = await explain(LINE);
      assert.equal(status, 0);
      assert.match(out, /the product working \(promise 1, inherited, never opened\)/);
      if (err !== "") {
        assert.match(err, /no policy is asked: SELinux is disabled/);
        assert.match(out, /said no: not known without a policy/);
        const { denials } = JSON.parse((await explain(LINE, "--json")).out);
        assert.equal(denials[0].saidNo.answer, "unknown");
      }
    },
  );
});

describe("svirt-agent policy explain --expect", () => {
  const ENTRY = `[[denial]]
source = "virt_domain"
target = "svirt_fd_image_t"
class = "file"
permissions = ["open"]
reason = "images are not opened"
`;

  it("exits with 0 for exactly what is expected", async () => {
    const file = write("open.toml", ENTRY);
    const { status, out } = await explain("-p", policy, "--expect", file, LINE);
    assert.equal(status, 0);
    assert.equal(out, `1 denial as ${file} expects, 0 unexpected, 0 missing\n`);
  });

  it("exits with 1 for an unexpected denial, and explains it", async () => {
    const file = write("map.toml", ENTRY.replace('"open"', '"open", "map"'));
    const other = LINE.replace("{ open }", "{ lock }");
    const { status, out } = await explain("-p", policy, "--expect", file, LINE, other);
    assert.equal(status, 1);
    assert.match(out, /^unexpected: a guest .* tried to lock file/);
    assert.match(
      out,
      /missing: .*map\.toml:1: virt_domain svirt_fd_image_t:file map: images are not opened\n/,
    );
    assert.match(out, /1 denial as .* expects, 1 unexpected, 1 missing\n$/);
  });

  it("exits with 1 for an empty log where something is expected", async () => {
    const [file, log] = [write("open.toml", ENTRY), write("empty.log", "")];
    const { status, out } = await explain("-p", policy, "--expect", file, log);
    assert.equal(status, 1);
    assert.match(out, /^missing: .*open\.toml:1: .* open: images are not opened\n/);
  });

  it("exits with 1 for what was expected and was permissive: nothing was denied", async () => {
    const file = write("open.toml", ENTRY);
    const permissive = LINE.replace("permissive=0", "permissive=1");
    const { status, out } = await explain("-p", policy, "--expect", file, permissive);
    assert.equal(status, 1);
    assert.match(out, /^unexpected: [^]*nobody: svirt_tcg_t[^]*missing: /);
  });

  it("prints both lists as JSON", async () => {
    const file = write("map.toml", ENTRY.replace('"open"', '"map"'));
    const { status, out } = await explain("-p", policy, "--expect", file, LINE, "--json");
    const { expect } = JSON.parse(out);
    assert.equal(status, 1);
    assert.equal(expect.asExpected, false);
    assert.deepEqual(expect.unexpected[0].denied, ["open"]);
    assert.equal(expect.missing[0].permission, "map");
  });

  it("accepts what --print-expect printed of the same log: test/golden/explain_expect.toml", async () => {
    const log = write(
      "enforced.log",
      readFileSync(LOG, "utf8").split("\n").filter((it) => !/permissive=1/.test(it)).join("\n"),
    );
    const printed = await explain("-p", policy, "--print-expect", log);
    equalsGolden(printed.out, "explain_expect", "toml");
    const file = write("printed.toml", printed.out);
    assert.equal((await explain("-p", policy, "--expect", file, log)).status, 0);
  });

  for (
    const [what, text, message] of [
      ["an unknown key", ENTRY + "serial = 1\n", /wrong\.toml:7: denial\[0\]\.serial: unknown key/],
      ["no reason", ENTRY.replace(/reason.*/, ""), /denial\[0\]\.reason: missing/],
      ["no permission", ENTRY.replace('["open"]', "[]"), /denial\[0\]\.permissions: empty/],
      ["what is no TOML", "[[denial", /\.toml:1:/],
    ] as const
  ) {
    it(`refuses ${what}, and names file and key`, async () => {
      const file = write("wrong.toml", text);
      await assert.rejects(explain("-p", policy, "--expect", file, LINE), (error: Error) => {
        assert.equal(error.name, "ConfigError");
        assert.match(error.message, message);
        return true;
      });
    });
  }
});
