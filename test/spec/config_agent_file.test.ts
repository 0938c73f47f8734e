import { after, before, describe, it } from "node:test";
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { readAgent } from "../../agent/config/agent_file.ts";
import { closest } from "../../agent/config/closest.ts";
import { ConfigError } from "../../agent/config/config_error.ts";

let folder: string;
let file: string;
before(() => {
  folder = mkdtempSync(join(tmpdir(), "config-agent-"));
  file = join(folder, "agent.toml");
});
after(() => rmSync(folder, { recursive: true }));

function read(toml: string) {
  writeFileSync(file, toml);
  return readAgent(file);
}

const DEFAULTS = {
  folders: ["/srv/images"],
  audit: { folder: "/var/log/svirt-agent" },
  categories: { low: 0, high: 1023 },
  boolean: "ask",
  onBooleanOn: "report",
  runtimeFolder: "/run/svirt-agent",
  fence: "off",
};

describe("readAgent", () => {
  it("needs nothing but the folders of images", () => {
    assert.deepEqual(read('folders = ["/srv/images"]'), DEFAULTS);
  });

  it("reads every key", () => {
    assert.deepEqual(
      read(`
        folders = ["/srv/nfs", "/var/lib/images"]
        categories = "c500.c600"
        boolean = "off"
        onBooleanOn = "stop-guest"
        runtimeFolder = "/run/x"
        fence = "owner"
        [audit]
        folder = "/var/log/x"
      `),
      {
        folders: ["/srv/nfs", "/var/lib/images"],
        audit: { folder: "/var/log/x" },
        categories: { low: 500, high: 600 },
        boolean: "off",
        onBooleanOn: "stop-guest",
        runtimeFolder: "/run/x",
        fence: "owner",
      },
    );
  });

  it("takes an empty [audit] as the default", () => {
    assert.deepEqual(read('folders = ["/srv/images"]\n[audit]'), DEFAULTS);
  });

  const SRV = 'folders = ["/srv"]\n';
  for (
    const [what, toml, message] of [
      ["no folders", "", 'folders: missing (say where images lie: ["/srv/images"])'],
      [
        "an empty list of folders",
        "folders = []",
        'folders: empty (say where images lie: ["/srv/images"])',
      ],
      [
        "one folder that is no list",
        'folders = "/srv"',
        'folders: expected an array, got string "/srv"',
      ],
      ["a relative folder", 'folders = ["/srv", "x"]', 'folders[1]: "x" is not absolute'],
      [
        "a key of another case",
        `${SRV}onbooleanon = "report"`,
        'onbooleanon: unknown key (did you mean "onBooleanOn"?)',
      ],
      [
        "an unknown word",
        `${SRV}boolean = "on"`,
        'boolean: "on" is not known (say "ask" or "off")',
      ],
      [
        "categories that no policy has",
        `${SRV}categories = "c0.c1024"`,
        'categories: "c0.c1024" is no range of categories (say a range of at least two, "c0.c1023")',
      ],
      [
        "categories the wrong way round",
        `${SRV}categories = "c9.c3"`,
        /^.*categories: "c9\.c3" is no range/,
      ],
      ["one category", `${SRV}categories = "c9"`, /^.*categories: "c9" is no range/],
      [
        "a key in the wrong table",
        `${SRV}[audit]\nfolders = "x"`,
        'audit.folders: unknown key (did you mean "folder"?)',
      ],
      ["a fence of another kind", `${SRV}fence = "on"`, /^.*fence: "on" is not known/],
      ["__proto__ as a key", `${SRV}__proto__ = 1`, /__proto__: unknown key/],
    ] as [string, string, string | RegExp][]
  ) {
    it(`refuses ${what}`, () => {
      assert.throws(() => read(toml), {
        name: "ConfigError",
        message: typeof message === "string" ? `${file}: ${message}` : message,
      });
    });
  }

  it("shows the smallest file that works when there is none", () => {
    assert.throws(() => readAgent(join(folder, "none.toml")), (error) => {
      assert(error instanceof ConfigError);
      assert.equal(error.message, `${folder}/none.toml: does not exist`);
      assert.deepEqual(read(error.hint!.slice(error.hint!.indexOf("\n"))), DEFAULTS);
      return true;
    });
  });
});

describe("closest", () => {
  it("knows a word with two letters swapped", () => {
    const word = fc.stringMatching(/^[a-z]{4,12}$/);
    fc.assert(fc.property(word, fc.nat(), (word, n) => {
      const i = n % (word.length - 1);
      const swapped = word.slice(0, i) + word[i + 1] + word[i] + word.slice(i + 2);
      assert.equal(closest(swapped, ["0123456789", word]), word);
    }));
  });

  it("suggests nothing for a word that is far from all", () => {
    assert.equal(closest("vcpus", ["monitor", "binary"]), undefined);
  });
});
