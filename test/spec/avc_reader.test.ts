import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type AvcLog, AvcReader } from "../../agent/audit/avc_reader.ts";

function read(...lines: readonly string[]): AvcLog {
  const reader = new AvcReader();
  for (const line of lines) reader.take(line);
  return reader.end();
}

const BODY = 'avc:  denied  { open } for  pid=303 comm="qemu-system-x86" path="/srv/nfs/x.raw" ' +
  'dev="0:45" ino=12472 scontext=system_u:system_r:svirt_t:s0:c1,c2 ' +
  "tcontext=system_u:object_r:nfs_t:s0 tclass=file permissive=0";
const AVC = `type=AVC msg=audit(1795265490.961:19): ${BODY}`;
const INTERPRETED = "type=AVC msg=audit(11/21/2026 16:45:43.123:19) : " +
  BODY.replaceAll(
    'comm="qemu-system-x86" path="/srv/nfs/x.raw"',
    "comm=qemu kvm path=/srv/nfs/x.raw",
  );

describe("AvcReader", () => {
  const FORMS: readonly (readonly [what: string, line: string])[] = [
    ["audit.log", AVC],
    ["audit.log of several hosts", `node=host1 ${AVC}`],
    ["the kernel's log", `[    9.125] audit: ${AVC.replace("type=AVC msg=", "type=1400 ")}`],
    ["syslog", `Nov 21 12:51:30 host kernel: [ 9.1] audit: ${AVC.replace("AVC msg=", "1400 ")}`],
    ["the journal", `Nov 21 12:51:30 host audit[303]: AVC ${BODY}`],
    ["the journal, ISO", `2026-11-21T12:51:30+0000 host audit[303]: AVC ${BODY}`],
    ["a message that somebody pasted", BODY],
    [
      "an object manager's",
      AVC.replace("type=AVC", "type=USER_AVC").replace(BODY, `msg='${BODY}'`),
    ],
  ];
  for (const [what, line] of FORMS) {
    it(`reads a denial of ${what}`, () => {
      const { denials, lines, skipped } = read(line);
      const { denied, path, ino, tcontext, permissive } = denials[0]!;
      assert.deepEqual([lines, skipped, denials.length], [1, 0, 1]);
      assert.deepEqual([denied, path, ino, permissive], [["open"], "/srv/nfs/x.raw", 12472, false]);
      assert.equal(tcontext, "system_u:object_r:nfs_t:s0");
    });
  }

  it("reads a denial of ausearch -i, whose names are bare, with the time as it stands", () => {
    const { comm, path, clock, serial, time } = read("----", INTERPRETED).denials[0]!;
    assert.deepEqual([comm, path], ["qemu kvm", "/srv/nfs/x.raw"]);
    assert.deepEqual([clock, serial, time], ["11/21/2026 16:45:43.123", 19, undefined]);
  });

  it("takes a bare name for a name, also where it looks like hexadecimal", () => {
    const line = INTERPRETED.replace("comm=qemu kvm", "comm=CAFE");
    assert.equal(read(line).denials[0]!.comm, "CAFE");
    assert.equal(read(AVC.replace('"qemu-system-x86"', "71656D75")).denials[0]!.comm, "qemu");
  });

  it("believes no context that stands in a file's name", () => {
    const name = "/srv/x scontext=a:b:c tcontext=d:e:f tclass=dir";
    const { scontext, tclass } = read(INTERPRETED.replace("/srv/nfs/x.raw", name)).denials[0]!;
    assert.deepEqual([scontext, tclass], ["system_u:system_r:svirt_t:s0:c1,c2", "file"]);
  });

  it("knows the second of an ISO time, and keeps others as they stand", () => {
    assert.equal(
      read(`2026-11-21T12:51:30+0100 h audit: AVC ${BODY}`).denials[0]!.time,
      1795261890,
    );
    assert.equal(read(`Nov 21 12:51:30 h audit: AVC ${BODY}`).denials[0]!.clock, "Nov 21 12:51:30");
  });

  it("counts once what is in two logs", () => {
    const kernel = `[    9.1] audit: ${AVC.replace("type=AVC msg=", "type=1400 ")}`;
    assert.equal(read(AVC, kernel).denials.length, 1);
  });

  it("counts once what the journal has with a number and without", () => {
    const [numbered, bare] = [FORMS[3]![1], FORMS[4]![1]];
    assert.equal(read(numbered, bare).denials.length, 1);
    assert.equal(read(numbered, bare, bare).denials.length, 2);
  });

  it("counts several denials of one system call", () => {
    assert.equal(read(AVC, AVC.replace("{ open }", "{ read }")).denials.length, 2);
  });

  it("skips and counts what is no denial: grants, other records, text", () => {
    const log = read(
      AVC,
      AVC.replace("denied", "granted"),
      "hello",
      "",
      "type=EOE msg=audit(1.0:2): ",
    );
    assert.deepEqual([log.denials.length, log.lines, log.skipped], [1, 4, 3]);
  });

  it("notices booleans that were switched, and policies that were loaded", () => {
    const { changes } = read(
      "type=MAC_CONFIG_CHANGE msg=audit(12.5:3): bool=virt_use_nfs val=1 old_val=0 auid=0",
      "[ 1.0] audit: type=1403 audit(11.000:2): auid=4294967295 ses=1 lsm=selinux res=1",
    );
    const boolean = { name: "virt_use_nfs", from: false, to: true };
    assert.deepEqual(changes, [{ time: 11 }, { time: 12.5, boolean }]);
  });
});

describe("AvcReader joins records of one event", () => {
  const EVENT = "msg=audit(1795265490.961:19):";
  const NAMED = AVC.replace('path="/srv/nfs/x.raw"', 'name="x.raw"');
  const SYSCALL = `type=SYSCALL ${EVENT} arch=c000003e syscall=257 success=no exit=-13 ` +
    'comm="qemu-system-x86" exe="/usr/bin/qemu-system-x86_64" key=(null)\x1dARCH=x86_64 SYSCALL=openat';
  const CWD = `type=CWD ${EVENT} cwd="/srv"`;
  const PATHS = [
    `type=PATH ${EVENT} item=0 name="nfs/" inode=7 dev=00:2d nametype=PARENT`,
    `type=PATH ${EVENT} item=1 name="nfs/x.raw" inode=12472 dev=00:2d nametype=NORMAL`,
  ];
  const TITLE = `type=PROCTITLE ${EVENT} proctitle=` +
    Buffer.from("qemu\0-name\0guest=web1,debug-threads=on\0-S").toString("hex").toUpperCase();
  const ALL = [NAMED, SYSCALL, CWD, ...PATHS, TITLE];

  for (const [order, lines] of [["auditd's", ALL], ["ausearch's", ALL.toReversed()]] as const) {
    it(`in ${order} order: program, system call, whole path, guest`, () => {
      const { denials, skipped } = read(...lines);
      const { exe, syscall, fullPath, guest } = denials[0]!;
      assert.deepEqual([exe, syscall], ["/usr/bin/qemu-system-x86_64", "openat"]);
      assert.deepEqual([fullPath, guest, skipped], ["/srv/nfs/x.raw", "web1", 0]);
    });
  }

  it("as ausearch -i has them", () => {
    const interpreted = (line: string) =>
      line.replace(EVENT, "msg=audit(11/21/2026 16:45:43.123:19) :");
    const { exe, syscall, guest } = read(
      interpreted(`type=PROCTITLE ${EVENT} proctitle=/usr/bin/qemu -name guest=web1,x=on -S `),
      interpreted(
        `type=SYSCALL ${EVENT} arch=x86_64 syscall=openat comm=q exe=/usr/bin/q q subj=a`,
      ),
      INTERPRETED,
    ).denials[0]!;
    assert.deepEqual([exe, syscall, guest], ["/usr/bin/q q", "openat", "web1"]);
  });

  it("not those of another event", () => {
    assert.equal(read(AVC, SYSCALL.replace(":19)", ":20)")).denials[0]!.exe, undefined);
  });

  it("and forgets events when many others have begun", () => {
    const others = Array.from({ length: 300 }, (_, i) => SYSCALL.replace(":19)", `:${i + 100})`));
    const { denials, skipped } = read(AVC, ...others, SYSCALL);
    assert.deepEqual([denials.length, denials[0]!.exe, skipped], [1, undefined, 301]);
  });
});
