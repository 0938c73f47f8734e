import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { compareGuests } from "../../agent/policy/diff/compare_guests.ts";
import { compareIoctls } from "../../agent/policy/diff/compare_ioctl.ts";
import { compareBooleans, compareNames } from "../../agent/policy/diff/compare_symbols.ts";
import { groupChanges } from "../../agent/policy/diff/group_changes.ts";
import { formatState } from "../../agent/policy/assertion/verdict.ts";
import type { OfflinePolicy } from "../../agent/policy/offline.ts";
import { type CilFile, compiled, MODULES, readCil } from "../policy/compile.ts";

const BASE = readCil("test/policy/fedora.cil");
const AGENT = MODULES.map(readCil);
const stock = compiled(BASE, ...AGENT);

const module = (text: string): CilFile => ({ name: "change", text });
const changed = (text: string) => compiled(BASE, ...AGENT, module(text));
const without = (pattern: RegExp, instead = "") => {
  const text = BASE.text.replace(pattern, instead);
  assert.notEqual(text, BASE.text, `${pattern} is not in it`);
  return compiled({ ...BASE, text }, ...AGENT);
};

/** Each group of changes as one line. */
function changes(before: OfflinePolicy, after: OfflinePolicy, guests = ["svirt_t"]): string[] {
  return groupChanges(compareGuests([before, after], guests)).map((group) => {
    const { direction, items, state, removed, added } = group;
    const relations = Object.keys(group.before).filter((it) =>
      group.before[it] !== group.after[it]
    );
    const what = items.map(({ targets, tclass, permissions }) =>
      `${targets.join(",")}:${tclass} ${permissions.join(",")}`
    );
    return [
      `${direction}${formatState(state) && ` ${formatState(state)}`}: ${what.join("; ")}`,
      `(${relations.map((it) => it.replace("-categories", "")).join(", ")})`,
      ...removed.map((rule) => `- ${rule}`),
      ...added.map((rule) => `+ ${rule}`),
    ].join(" ");
  });
}

describe("what guests may do in one policy and not in another", () => {
  it("is nothing where a policy is the same", () => {
    assert.deepEqual(changes(stock, compiled(BASE, ...AGENT)), []);
  });

  it("is a rule that was added, and where categories still keep it from mattering", () => {
    const after = changed("(allow virt_domain virt_image_t (file (write append)))");
    const rule = "allow virt_domain virt_image_t:file { append write };";
    assert.deepEqual(changes(stock, after), [
      `looser: virt_image_t:file write,append (same, no) + ${rule}`.replace(
        "{ append write }",
        "{ write append }",
      ),
    ]);
    assert.match(changes(after, stock)[0]!, /^tighter: .* - allow virt_domain/);
  });

  it("is a rule that holds in some state of a boolean, which is named", () => {
    const after = changed(
      "(boolean map_all false) (booleanif map_all (true (allow virt_domain svirt_fd_image_t (file (map)))))",
    );
    assert.deepEqual(changes(stock, after), [
      "looser map_all=on: svirt_fd_image_t:file map (same, other, no) " +
      "+ allow virt_domain svirt_fd_image_t:file map; [ map_all ]",
    ]);
  });

  it("is a rule that was put under a boolean, also one that is on", () => {
    const [before, after] = [
      changed("(allow svirt_t sysfs_t (file (map)))"),
      changed("(boolean see true) (booleanif see (true (allow svirt_t sysfs_t (file (map)))))"),
    ];
    assert.deepEqual(changes(before, after), [
      "tighter see=off: sysfs_t:file map (same, other, no) - allow svirt_t sysfs_t:file map; " +
      "+ allow svirt_t sysfs_t:file map; [ see ]",
    ]);
  });

  it("is nothing where rules are written otherwise and grant the same", () => {
    const [before, after] = [
      changed("(allow svirt_t sysfs_t (file (map read)))"),
      changed("(allow svirt_t sysfs_t (file (map))) (allow virt_domain sysfs_t (file (read)))"),
    ];
    assert.deepEqual(changes(before, after), []);
  });

  it("is what an attribute brings to a type that joined it", () => {
    const after = changed("(typeattributeset virt_domain (initrc_t))");
    const gained = changes(stock, after, ["initrc_t"]);
    assert.ok(gained.length > 0);
    for (const line of gained) assert.match(line, /^looser.*: .* \+ allow virt_domain /);
  });

  it("is a constraint that is gone, with all that it kept apart, also in other states", () => {
    const after = without(/\(mlsconstrain \(file \(write setattr.*\)\n/);
    const [first, ...rest] = changes(stock, after);
    assert.ok(
      rest.includes("looser virt_use_nfs=on: nfs_t:file setattr,unlink,link,rename (other)"),
    );
    for (const line of rest) assert.match(line, /^looser virt_use_\w+=on: .*:file .* \(other\)$/);
    assert.match(first!, /^looser: .*\bsvirt_image_t[^;]*:file .*write.* \(other\)$/);
  });

  it("is a constraint that spares a type, for this type alone", () => {
    const after = without(
      /\(mlsconstrain \(file \(write setattr append unlink link rename\)\) \(dom h1 h2\)\)/,
      "(mlsconstrain (file (write setattr append unlink link rename)) " +
        "(or (dom h1 h2) (eq t2 svirt_fd_image_t)))",
    );
    assert.deepEqual(changes(stock, after), ["looser: svirt_fd_image_t:file write,append (other)"]);
  });

  it("is what it may do with a type that the other policy does not have", () => {
    const after = changed(
      "(type new_t) (roletype object_r new_t) (allow svirt_t new_t (file (read)))",
    );
    assert.deepEqual(changes(stock, after), [
      "new-type: new_t:file read (same, other, no) + allow svirt_t new_t:file read;",
    ]);
    assert.match(changes(after, stock)[0]!, /^lost-type: new_t:file read/);
  });

  it("is what libsepol says of every permission of every type when it is asked about all of them", () => {
    const after = changed(
      "(allow virt_domain virt_image_t (file (write))) (allow svirt_t fs_t (filesystem (mount)))",
    );
    const found = compareGuests([stock, after], ["svirt_t"]).flatMap((it) =>
      it.permissions.map((permission) => `${it.target} ${it.tclass} ${permission}`)
    );
    const questions = stock.db.types().flatMap((target) =>
      [...stock.db.classes.values()].map(({ name, permissions }) => ({
        source: "system_u:system_r:svirt_t:s0:c1,c2",
        target: `system_u:object_r:${target}:s0`,
        tclass: name,
        permissions: permissions.filter(Boolean),
        brief: true,
      }))
    );
    const [old, now] = [stock, after].map((engine) => engine.ask(questions));
    const all = questions.flatMap(({ target, tclass, permissions }, i) =>
      permissions.filter((it) =>
        old![i]!.decisions.get(it)!.answer !== now![i]!.decisions.get(it)!.answer
      ).map((it) => `${target.split(":")[2]} ${tclass} ${it}`)
    );
    assert.deepEqual(found.sort(), all.sort());
    assert.equal(all.length, 2);
  });
});

describe("commands of ioctl(2) that guests may use", () => {
  it("are compared where a rule lists them", () => {
    const rule = (range: string) =>
      changed(`(allowx svirt_t virt_image_t (ioctl file (${range})))`);
    const [before, after] = [rule("0x1260 0x1268"), rule("range 0x1260 0x12ff")];
    const common = { source: "svirt_t", target: "virt_image_t", tclass: "file" };
    assert.deepEqual(compareIoctls([before.db, after.db], ["svirt_t"]), [
      { ...common, before: "0x1260 0x1268", after: "0x1260-0x12ff" },
    ]);
    assert.deepEqual(compareIoctls([before.db, stock.db], ["svirt_t"]), [
      { ...common, before: "0x1260 0x1268", after: undefined },
    ]);
  });
});

describe("names that one policy has alone", () => {
  it("are told, each with its kind", () => {
    const after = changed(`
      (type new_t) (typeattribute new_attribute) (typeattributeset new_attribute (new_t))
      (boolean new_boolean false) (typepermissive svirt_t)
      (typeattributeset virt_domain (initrc_t)) (allow svirt_t new_attribute (fd (use)))`);
    const names = compareNames([stock.db, after.db]);
    assert.deepEqual(names.map(({ kind, name, only }) => `${kind} ${name} ${only}`), [
      "guest type initrc_t new",
      "permissive type svirt_t new",
      "type new_t new",
      "attribute new_attribute new",
      "boolean new_boolean new",
    ]);
    assert.ok(compareNames([after.db, stock.db]).every(({ only }) => only === "old"));
  });
  it("do not hide a boolean whose value changed", () => {
    const after = without(/\(boolean virt_use_nfs false\)/, "(boolean virt_use_nfs true)");
    assert.deepEqual(compareBooleans([stock.db, after.db]), [
      { name: "virt_use_nfs", before: false, after: true },
    ]);
  });
});
