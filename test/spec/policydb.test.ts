import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { PolicyFormatError } from "../../agent/policy/binary/cursor.ts";
import { PolicyDb } from "../../agent/policy/binary/policydb.ts";
import { ALLOWED } from "../../agent/policy/binary/rules.ts";
import { withBooleans } from "../../agent/policy/binary/with_booleans.ts";
import { compile, MODULES, readCil } from "../policy/compile.ts";

const small = readCil("test/policy/small.cil");
const bytes = compile([small]);
const db = new PolicyDb(bytes);

describe("a binary policy", () => {
  it("names its types, without attributes and aliases", () => {
    const types = db.types();
    assert.ok(["guest_t", "other_guest_t", "image_t", "nfs_t"].every((it) => types.includes(it)));
    assert.ok(!types.includes("guests") && !types.includes("old_image_t"));
    assert.deepEqual(db.attributes().filter((it) => it === "guests"), ["guests"]);
  });
  it("expands an attribute to its types, and a type or an alias to that type", () => {
    assert.deepEqual(db.expand("guests"), ["guest_t", "other_guest_t"]);
    assert.deepEqual(db.expand("guest_t"), ["guest_t"]);
    assert.deepEqual(db.expand("old_image_t"), ["image_t"]);
    assert.equal(db.expand("nobody_t"), undefined);
  });
  it("has permissions in the order of their bits, those of the common first", () => {
    const { permissions } = db.classes.get("file")!;
    assert.deepEqual(permissions, ["read", "write", "getattr", "open", "map", "execute"]);
  });
  it("tells booleans and what they are", () => {
    const on = { name: "on_b", text: "(boolean on_b true)" };
    const both = new PolicyDb(compile([small, on])).booleans;
    assert.deepEqual(both.map(({ name, on }) => [name, on]).sort(), [
      ["no_nfs", false],
      ["on_b", true],
      ["open_all", false],
      ["use_nfs", false],
    ]);
  });
  it("tells which types are permissive", () => {
    assert.ok(db.isPermissive("free_t"));
    assert.ok(!db.isPermissive("guest_t") && !db.isPermissive("nobody_t"));
  });
  it("keeps rules that always hold before conditional ones", () => {
    const { rules, firstConditionalRule } = db;
    assert.ok(firstConditionalRule > 0 && firstConditionalRule < rules.length);
    assert.ok(rules.conditional.subarray(0, firstConditionalRule).every((it) => it === -1));
    assert.ok(rules.kind.subarray(0, rules.length).includes(ALLOWED));
  });
  it("is read to its last byte, also with our modules on Fedora's rules", () => {
    const fedora = compile(["test/policy/fedora.cil", ...MODULES].map(readCil));
    assert.equal(new PolicyDb(fedora).expand("svirt_fd_type")?.length, 2);
  });
});

describe("what is no binary policy", () => {
  const refused = (bytes: Uint8Array) =>
    assert.throws(() => new PolicyDb(bytes), PolicyFormatError, `${bytes.length} bytes`);

  it("is refused: nothing, text, a module's magic", () => {
    refused(new Uint8Array());
    refused(new TextEncoder().encode("(allow svirt_t nfs_t (file (open)))\n"));
    refused(Uint8Array.of(0x8d, 0xff, 0x7c, 0xf9, ...bytes.subarray(4)));
  });
  it("is refused wherever it was cut off, and when something follows it", () => {
    for (let end = 1; end < bytes.length; end++) refused(bytes.subarray(0, end));
    refused(Uint8Array.of(...bytes, 0));
  });
  it("is refused, or read as something else, whichever byte is wrong; it takes no memory for that", () => {
    for (const byte of [0x20, 0xff]) {
      for (const at of bytes.keys()) {
        const wrong = bytes.slice();
        wrong[at] = byte;
        try {
          new PolicyDb(wrong).types();
        } catch (error) {
          assert.ok(error instanceof PolicyFormatError, `${byte} at ${at}: ${error}`);
        }
      }
    }
  });
  it("is refused for a rule about a class that it does not have", () => {
    const wrong = bytes.slice();
    const [kind] = db.rules.offset;
    new DataView(wrong.buffer).setUint16(kind! - 2, 99, true);
    assert.throws(() => new PolicyDb(wrong), /rule 0 is about class number 99/);
  });
  it("is refused when it is of a version that is not known, with those that are", () => {
    const newer = bytes.slice();
    newer[16] = 99;
    assert.throws(() => new PolicyDb(newer), /Version 99; 24 to 35 can be read/);
  });
});

describe("a policy with other values of booleans", () => {
  const declared = (name: string) =>
    compile([{ ...small, text: small.text.replace(`${name} false`, `${name} true`) }]);

  for (const name of ["use_nfs", "no_nfs", "open_all"]) {
    it(`is byte for byte what would be compiled with ${name} on`, () => {
      assert.deepEqual(withBooleans(bytes, db, { [name]: true }), declared(name));
    });
  }
  it("comes back byte for byte when they are as they were", () => {
    const on = withBooleans(bytes, db, { use_nfs: true, open_all: true });
    assert.deepEqual(withBooleans(on, db, {}), bytes);
  });
  it("leaves the bytes it was made from alone, also those of a Buffer", () => {
    const buffer = Buffer.from(bytes);
    withBooleans(buffer, db, { use_nfs: true });
    assert.deepEqual(new Uint8Array(buffer), bytes);
  });
  it("is refused for a boolean that the policy does not have", () => {
    assert.throws(() => withBooleans(bytes, db, { use_nsf: true }), {
      name: "RangeError",
      message: 'The policy has no boolean "use_nsf"',
    });
  });
});
