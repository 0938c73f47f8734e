import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { Ajv2020 } from "ajv/dist/2020.js";
import fc from "fast-check";
import { parse } from "smol-toml";
import { bundledFiles } from "../../agent/policy/assertion/bundled.ts";
import { readAssertions } from "../../agent/policy/assertion/parse.ts";
import { findCommand } from "../../agent/command/find.ts";
import { parse as parseArguments } from "../../agent/command/parse.ts";
import { ConfigError } from "../../agent/config/config_error.ts";
import { assertionsOf } from "../policy/check.ts";

const ROOT = import.meta.dirname.replace(/(\/dist)?\/test\/spec$/, "");
const SCHEMA = join(ROOT, "policies/assertions/assertion.schema.json");

const validate = new Ajv2020({ strict: true, strictTypes: false, strictRequired: false })
  .compile(JSON.parse(readFileSync(SCHEMA, "utf8")));

/** What is right, a key a line. */
const GOOD: Readonly<Record<string, string>> = {
  id: `"nfs"`,
  desc: `"No guest opens a file on NFS"`,
  source: `"virt_domain"`,
  target: `"nfs_t"`,
  class: `"file"`,
  never: `["open"]`,
};

function text(keys: Readonly<Record<string, string | undefined>>): string {
  const lines = Object.entries({ ...GOOD, ...keys })
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => `${key} = ${value}`);
  return ["[[assertion]]", ...lines, ""].join("\n");
}

/** Line 1 is `[[assertion]]`; the six keys follow in their order, then others. */
function refused(keys: Readonly<Record<string, string | undefined>>): string {
  try {
    assertionsOf(text(keys));
  } catch (error) {
    assert(error instanceof ConfigError);
    return error.message.replace(/^.*a\.toml:/, "");
  }
  assert.fail(`accepted: ${text(keys)}`);
}

/** Each is refused by the schema as well: what differs from GOOD, and where the message points. */
// deno-fmt-ignore
const WRONG: readonly (readonly [Readonly<Record<string, string | undefined>>, string])[] = [
  [{ id: undefined }, "1: assertion[0].id: missing"],
  [{ id: `"a b"` }, '2: assertion[0].id: "a b" is no id'],
  [{ desc: `" "` }, '3: assertion[0].desc: " " says nothing'],
  [{ desc: `7` }, "3: assertion[0].desc: expected a string, got integer 7"],
  [{ source: `[]` }, "4: assertion[0].source: empty (name at least one)"],
  [{ source: `"a b"` }, '4: assertion[0].source: "a b" is no type, attribute, full context, or "*" for every type'],
  [{ source: `["-a"]` }, '4: assertion[0].source: only exceptions (say of what: "*" is every type)'],
  [{ source: `"self"` }, '4: assertion[0].source[0]: "self" is a target'],
  [{ source: `"u:r"` }, '4: assertion[0].source: "u:r" is no type, attribute, full context, or "*" for every type'],
  [{ source: `"-u:r:t"` }, '4: assertion[0].source: "-u:r:t" is no type, attribute, full context, or "*" for every type'],
  [{ target: `["self", "nfs_t"]` }, '5: assertion[0].target[0]: "self" stands alone'],
  [{ class: `[]` }, "6: assertion[0].class: empty (name at least one)"],
  [{ class: `"-file"` }, '6: assertion[0].class: "-file" is no class'],
  [{ never: undefined }, "1: assertion[0]: it asserts nothing (say allow, never, only or inherited_only)"],
  [{ never: undefined, inherited_only: "false" }, "1: assertion[0]: it asserts nothing (say allow, never, only or inherited_only)"],
  [{ never: `[]` }, "7: assertion[0].never: empty (name at least one)"],
  [{ never: `"open"` }, '7: assertion[0].never: expected an array, got string "open"'],
  [{ never: `["-open"]` }, '7: assertion[0].never[0]: "-open" is no permission'],
  [{ relation: `"other"` }, '8: assertion[0].relation: "other" is not known (say "same-categories", "other-categories" or "no-categories")'],
  [{ when: `{ a = true }` }, "8: assertion[0].when.a: expected a string, got boolean true"],
  [{ when: `{ a = "yes" }` }, '8: assertion[0].when.a: "yes" is not known (say "on" or "off")'],
  [{ when: `{ "a b" = "on" }` }, '8: assertion[0].when."a b": "a b" is no boolean'],
  [{ booleans: `"some"` }, '8: assertion[0].booleans: "some" is not known (say "all")'],
  [{ booleans: `["a","b","c","d","e","f","g","h","i"]` }, "8: assertion[0].booleans: more than 8 (every state of them is asked)"],
  [{ opener: `"init_t"` }, "8: assertion[0].opener: goes with inherited_only = true"],
  [{ controls: `"C-1"` }, '8: assertion[0].controls: expected an array, got string "C-1"'],
  [{ disable: `""` }, '8: assertion[0].disable: "" says nothing'],
  [{ disable: `true` }, "8: assertion[0].disable: expected a string, got boolean true"],
  [{ relatoin: `"x"` }, '8: assertion[0].relatoin: unknown key (did you mean "relation"?)'],
];

/** What a schema of this kind cannot say. */
// deno-fmt-ignore
const WRONG_TOGETHER: typeof WRONG = [
  [{ allow: `["open"]` }, '8: assertion[0].allow[0]: "open" is allowed here and forbidden beside it'],
  [{ never: undefined, only: `["read"]`, allow: `["write"]` }, '8: assertion[0].allow[0]: "write" is allowed here and forbidden beside it'],
  [{ never: undefined, inherited_only: "true", allow: `["open"]` }, '8: assertion[0].allow[0]: "open" is allowed here and forbidden beside it'],
  [{ when: `{ a = "on" }`, booleans: `["a"]` }, '9: assertion[0].booleans[0]: "a" is named before'],
  [{ target: `"self"`, relation: `"other-categories"` }, '8: assertion[0].relation: "self" has the same categories'],
  [{ target: `"u:r:t:s0"`, relation: `"other-categories"` }, "5: assertion[0].target: a full context has its level (leave out relation)"],
];

describe("a file of assertions", () => {
  it("gives back what it says", () => {
    const [assertion] = assertionsOf(text({
      source: `["virt_domain", "-svirt_t", "svirt_tcg_t?"]`,
      when: `{ "a?" = "on" }`,
      controls: `["C-1"]`,
    }));
    assert.deepEqual(assertion!.source.map(({ name }) => name), [
      "virt_domain",
      "svirt_t",
      "svirt_tcg_t",
    ]);
    assert.deepEqual(assertion!.source.map((it) => [it.excluded, it.optional]), [
      [false, false],
      [true, false],
      [false, true],
    ]);
    assert.deepEqual(assertion!.when, [
      { name: { name: "a", excluded: false, optional: true }, on: true },
    ]);
    assert.deepEqual(assertion!.controls, ["C-1"]);
    assert.equal(assertion!.line, 1);
  });

  for (const [keys, message] of [...WRONG, ...WRONG_TOGETHER]) {
    it(`is refused with file, line and key: ${message}`, () => {
      assert.equal(refused(keys), message);
    });
  }

  it("points at the table that is meant, behind others and strings of several lines", () => {
    const file = [
      text({ means: `"""\n[[assertion]]\nid = "no"\n"""` }),
      "# [[assertion]]",
      text({ id: `"second"`, allow: `[ # of several\n  "read",\n]`, relation: "1" }),
    ].join("\n");
    assert.throws(() => assertionsOf(file), /a\.toml:24: assertion\[1\]\.relation: expected/);
  });
  it("points into tables of a table, and at keys that are quoted or dotted", () => {
    const file = [
      text({}),
      text({ id: `"second"` }),
      "[assertion.when]", // 18
      `use_nfs = "on"`,
      `'a"b' = "on"`, // 20
    ];
    assert.throws(
      () => assertionsOf(file.slice(0, 3).join("\n") + "\nuse_nfs = 1\n"),
      /:18: .*when\.use_nfs/,
    );
    assert.throws(() => assertionsOf(file.join("\n")), /:19: assertion\[1\]\.when\."a\\"b": /);
    const dotted = text({}) + `when.use_nfs = "no"\n`;
    assert.throws(() => assertionsOf(dotted), /:8: assertion\[0\]\.when\.use_nfs: "no"/);
  });
  it("says where an id was used before", () => {
    const twice = text({}) + text({});
    assert.throws(
      () => assertionsOf(twice),
      /a\.toml:9: assertion\[1\]\.id: "nfs" is the id of another, at .*a\.toml:2$/,
    );
  });
  it("says line and column of what is no TOML", () => {
    assert.throws(() => assertionsOf("[[assertion]]\nid = \n"), /a\.toml:2:\d+: /);
  });
  it("says nothing where it is empty, and that is refused", () => {
    assert.throws(() => assertionsOf(""), /assertion: missing \(say \[\[assertion\]\]\)/);
  });
});

describe("the schema of assertion files", () => {
  for (const [keys, message] of WRONG) {
    it(`refuses what the parser refuses: ${message}`, () => {
      assert.equal(validate(parse(text(keys))), false);
    });
  }
  it("takes every key", () => {
    const keys = {
      source: `["virt_domain", "-svirt_t?", "u:r:t:s0-s0:c0.c1023", "*"]`,
      target: `"self"`,
      class: `["file", "dir?"]`,
      allow: `["read"]`,
      only: `["read"]`,
      when: `{ "a?" = "on" }`,
      booleans: `"all"`,
      inherited_only: "true",
      opener: `"u:r:t"`,
      controls: `["C-1"]`,
      disable: `"d"`,
      means: `"m"`,
      hint: `"h"`,
    };
    assert.equal(validate(parse(text(keys))), true, JSON.stringify(validate.errors));
    assert.equal(assertionsOf(text(keys)).length, 1);
  });
  it("refuses nothing that the parser takes, whatever stands in a file", () => {
    // Words that are right somewhere and wrong elsewhere.
    const word = fc.constantFrom(
      ...["a", "a?", "-a", "-a?", "*", "self", "all", "on", "", " ", "a b", "7a", "a.b", "-", "?"],
      ...["u:r:t", "u:r:t?", "-u:r:t", "u:r:t:s0", "u:r:t:s0-s0:c1", "u:r:t:7", "u:r", "*?", "_a"],
      ...["same-categories", "no-categories"],
    ).map((it) => JSON.stringify(it));
    const list = fc.array(word, { maxLength: 3 }).map((it) => `[${it.join(", ")}]`);
    const table = fc.tuple(word, word).map(([key, value]) => `{ ${key} = ${value} }`);
    const value = fc.oneof(word, list, table, fc.constantFrom("true", "false", "1", "[[]]"));
    const keys = ["source", "target", "class", "allow", "never", "only", "when", "booleans"];
    const others = ["relation", "inherited_only", "opener", "controls", "disable", "means", "id"];
    const changed = fc.dictionary(
      fc.constantFrom(...keys, ...others),
      fc.option(value, { nil: undefined }),
      {
        minKeys: 1,
        maxKeys: 2,
      },
    );
    fc.assert(
      fc.property(changed, (keys) => {
        const written = text(keys);
        try {
          assertionsOf(written);
        } catch (error) {
          assert(error instanceof ConfigError, String(error));
          return;
        }
        assert.equal(validate(parse(written)), true, written + JSON.stringify(validate.errors));
      }),
      { numRuns: 400 },
    );
  });
  for (const file of bundledFiles()) {
    it(`takes ${file.split("/").at(-1)}, which comes with the program, and so does the parser`, () => {
      assert.equal(validate(parse(readFileSync(file, "utf8"))), true);
      assert.ok(readAssertions([file]).length > 0);
    });
  }
  it("is valid for all of them together: no id is used twice", () => {
    readAssertions(bundledFiles());
  });
});

describe("policies/assertions/README.md", () => {
  const readme = readFileSync(join(ROOT, "policies/assertions/README.md"), "utf8");

  it("has an example that the schema and the parser take", () => {
    const [, example] = /```toml\n([^`]*)```/.exec(readme)!;
    assert.equal(validate(parse(example!)), true);
    assert.equal(assertionsOf(example!).length, 3);
  });
  it("names every key that there is", () => {
    const { $defs } = JSON.parse(readFileSync(SCHEMA, "utf8"));
    for (const key of Object.keys($defs.assertion.properties)) {
      assert.match(readme, new RegExp(`^\\|.*\`${key}\``, "m"));
    }
  });
  it("has commands that the program takes", () => {
    const commands = [...readme.matchAll(/svirt-agent (policy test --[^\n>]*)/g)];
    assert.ok(commands.length >= 3);
    for (const [, typed] of commands) {
      const { command, rest } = findCommand(typed!.trim().split(/ +/));
      assert.deepEqual(parseArguments(command, rest).operands, ["vm_backup.toml"]);
    }
  });
});
