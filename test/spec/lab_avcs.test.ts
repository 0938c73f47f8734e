import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { parseAvc, parseAvcs } from "../../agent/audit/avc.ts";
import { account, describeAvc, parseClaims } from "../lab/accounting.ts";

/** As the audit daemon of Debian 13 writes it. */
const OPEN = "type=AVC msg=audit(1795234693.401:88): avc:  denied  { read write } for  pid=312 " +
  'comm="holder" path="/srv/nfs42/vm1.raw" dev="0:41" ino=262 ' +
  "scontext=system_u:system_r:svirt_t:s0:c41,c264 tcontext=system_u:object_r:nfs_t:s0 " +
  "tclass=file permissive=0";

/** The same event in the kernel's own log. */
const OPEN_IN_DMESG = `[    9.125] audit: ${OPEN.replace("type=AVC msg=", "type=1400 ")}`;

const DBUS = "type=USER_AVC msg=audit(1795234693.500:90): pid=1 uid=0 auid=4294967295 " +
  "ses=4294967295 subj=system_u:system_r:init_t:s0 msg='avc:  denied  { start } for  auid=n/a " +
  'uid=0 gid=0 path="/lib/systemd/system/x.service" cmdline="" ' +
  "scontext=system_u:system_r:svirt_agent_t:s0 tcontext=system_u:object_r:unit_t:s0 " +
  'tclass=service permissive=1 exe="/usr/lib/systemd/systemd" sauid=0 hostname=? addr=? ' +
  'terminal=?\'\x1dUID="root" AUID="unset"';

function avc(serial: number, denied = "open", scontext = "svirt_t", tcontext = "nfs_t") {
  return parseAvc(
    `type=AVC msg=audit(1.000:${serial}): avc:  denied  { ${denied} } for  pid=1 comm="x" ` +
      `scontext=system_u:system_r:${scontext}:s0:c1,c2 tcontext=system_u:object_r:${tcontext}:s0 ` +
      `tclass=file permissive=0`,
  )!;
}

describe("parseAvc", () => {
  it("reads every field of a denial", () => {
    assert.deepEqual(parseAvc(OPEN), {
      serial: 88,
      time: 1795234693.401,
      denied: ["read", "write"],
      scontext: "system_u:system_r:svirt_t:s0:c41,c264",
      tcontext: "system_u:object_r:nfs_t:s0",
      tclass: "file",
      permissive: false,
      pid: 312,
      comm: "holder",
      path: "/srv/nfs42/vm1.raw",
      dev: "0:41",
      ino: 262,
    });
  });

  it("reads the same denial in the kernel's log, where the record type is a number", () => {
    assert.deepEqual(parseAvc(OPEN_IN_DMESG), parseAvc(OPEN));
  });

  it("reads a denial by a userspace object manager, and that it was permissive", () => {
    const avc = parseAvc(DBUS)!;
    assert.deepEqual([avc.serial, avc.tclass, avc.denied], [90, "service", ["start"]]);
    assert.equal(avc.scontext, "system_u:system_r:svirt_agent_t:s0");
    assert.equal(avc.permissive, true);
  });

  it("decodes the names that the kernel writes in hexadecimal", () => {
    const name = Buffer.from('disk "1".raw').toString("hex").toUpperCase();
    assert.equal(parseAvc(OPEN.replace('comm="holder"', `name=${name}`))!.name, 'disk "1".raw');
  });

  it("keeps a quoted name that looks like hexadecimal", () => {
    assert.equal(parseAvc(OPEN.replace('"holder"', '"CAFE"'))!.comm, "CAFE");
  });

  for (
    const [what, line] of [
      ["a granted access", OPEN.replace("denied", "granted")],
      ["a record of another type", OPEN.replace("type=AVC", "type=SYSCALL")],
      ["a truncated record", OPEN.slice(0, 120)],
      ["an empty line", ""],
    ] as const
  ) {
    it(`finds no denial in ${what}`, () => assert.equal(parseAvc(line), undefined));
  }
});

describe("parseAvcs", () => {
  it("counts a denial once that is in both logs", () => {
    assert.equal(parseAvcs(OPEN, OPEN_IN_DMESG).length, 1);
  });

  it("keeps a denial that only the kernel's log has", () => {
    const early = OPEN_IN_DMESG.replace(":88)", ":5)");
    assert.deepEqual(parseAvcs(OPEN, early).map((avc) => avc.serial), [5, 88]);
  });

  it("keeps two denials of one system call apart", () => {
    const second = OPEN.replace("{ read write }", "{ open }");
    assert.deepEqual(parseAvcs(`${OPEN}\n${second}\n`, "").map((avc) => avc.serial), [88, 88]);
  });
});

describe("account", () => {
  const allowance = {
    scontext: "svirt_t",
    tcontext: "nfs_t",
    class: "file",
    permission: "open",
    reason: "for this test",
  };

  it("gives a claimed denial to its test, by serial", () => {
    const { claimed, unexpected } = account([avc(1), avc(2)], [{ serial: 2, reason: "" }], []);
    assert.deepEqual(claimed.map((avc) => avc.serial), [2]);
    assert.deepEqual(unexpected.map((avc) => avc.serial), [1]);
  });

  it("allows what the list names, whatever the categories", () => {
    assert.equal(account([avc(1)], [], [allowance]).allowed.length, 1);
  });

  for (
    const [what, other] of [
      ["another source type", avc(1, "open", "svirt_agent_t")],
      ["another target type", avc(1, "open", "svirt_t", "virt_image_t")],
      ["a permission besides the allowed one", avc(1, "open write")],
    ] as const
  ) {
    it(`does not allow ${what}`, () => {
      assert.equal(account([other], [], [allowance]).unexpected.length, 1);
    });
  }
});

describe("parseClaims", () => {
  it("reads one claim a line and skips empty lines", () => {
    const claims = parseClaims('{"serial":7,"reason":"reopen"}\n\n{"serial":8,"reason":"map"}\n');
    assert.deepEqual(claims.map((claim) => claim.serial), [7, 8]);
  });

  for (const line of ["7", "{}", '{"serial":"7","reason":"x"}', '{"serial":7}', "not JSON"]) {
    it(`rejects ${line}`, () => assert.throws(() => parseClaims(line), SyntaxError));
  }
});

describe("describeAvc", () => {
  it("tells who was denied what, in one line", () => {
    assert.equal(
      describeAvc(parseAvc(OPEN)!),
      "serial 88: holder[312] system_u:system_r:svirt_t:s0:c41,c264 -> " +
        'system_u:object_r:nfs_t:s0:file { read write } "/srv/nfs42/vm1.raw"',
    );
  });
});
