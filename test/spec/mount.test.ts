import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { constants } from "node:fs";
import { AT_FDCWD, openat2 } from "../../ffi/libc.ts";
import { OwnedFd } from "../../agent/owned_fd.ts";
import {
  classify,
  type FileOnMount,
  type Mount,
  mountOf,
  parseMountinfo,
} from "../../agent/label/mount.ts";

function mount(fsType: string, superOptions: string): Mount {
  const line = `36 25 0:42 / /srv/images rw,relatime shared:1 - ${fsType} source ${superOptions}`;
  return parseMountinfo(line).get(36n)!;
}

const LABEL = "type, revoked by label, enforced (label)";
const block: FileOnMount = { isBlockDevice: true };

describe("classify", () => {
  for (
    const [fsType, options, wanted, file] of [
      ["ext4", "rw,seclabel", LABEL],
      ["xfs", "rw,seclabel,attr2", LABEL],
      ["btrfs", "rw,seclabel,subvol=/", LABEL],
      ["tmpfs", "rw,seclabel,size=1g", LABEL],
      ["nfs4", "rw,seclabel,vers=4.2", LABEL],
      ["nfs4", "rw,vers=4.2", "virt_use_nfs, revoked by reopen, cooperative"],
      ["nfs", "rw,vers=3", "virt_use_nfs, revoked by reopen, cooperative"],
      ["cifs", "rw,vers=3.1.1", "virt_use_samba, revoked by reopen, cooperative"],
      ["smb3", "rw,vers=3.1.1", "virt_use_samba, revoked by reopen, cooperative"],
      ["fuse", "rw,user_id=0", "virt_use_fusefs, revoked by reopen, cooperative"],
      ["fuse.glusterfs", "rw", "virt_use_fusefs, revoked by reopen, cooperative"],
      ["fuseblk", "rw", "virt_use_fusefs, revoked by reopen, cooperative"],
      ["virtiofs", "rw", "virt_use_fusefs, revoked by reopen, cooperative"],
      ["devtmpfs", "rw,seclabel", "type, revoked by node, enforced (label)", block],
      ["gfs2", "rw,seclabel", LABEL],
    ] as const
  ) {
    const what = file === undefined ? `an image on ${fsType}` : "a block device";
    it(`${what} (${options}): open denied by ${wanted}`, () => {
      const { refused, ...storage } = classify(mount(fsType, options), file);
      const { openDeniedBy, boolean, revocation, grade } = storage;
      assert.equal(refused, undefined);
      assert.equal(`${boolean ?? openDeniedBy}, revoked by ${revocation}, ${grade}`, wanted);
      assert.equal(openDeniedBy, boolean === undefined ? "type" : "boolean");
      assert.equal(storage.keepsLabels, wanted.startsWith("type"));
      assert.deepEqual(storage.findings, []);
    });
  }

  it("does not vouch for a disk that takes SCSI commands, and says what would do", () => {
    const found = classify(mount("devtmpfs", "rw,seclabel"), { ...block, takesCommands: true });
    assert.equal(found.grade, "cooperative");
    assert.equal(found.revocation, "node");
    assert.match(found.findings[0]!, /SCSI commands, which SELinux does not see\. Use a partition/);
  });

  for (
    const [what, fsType, options, file, why] of [
      ["a filesystem nobody knows", "9p", "rw,trans=virtio", {}, /keeps no labels and no boolean/],
      ["a type that is a property of every object", "constructor", "rw", {}, /no boolean/],
      ["ext4 without seclabel", "ext4", "rw", {}, /is SELinux enabled/],
      ["a block device whose node has no label", "devtmpfs", "rw", block, /is SELinux enabled/],
      ["a block device node on NFS", "nfs4", "rw", block, /no boolean/],
      ["a context= mount", "nfs4", 'rw,context="u:object_r:t:s0:c1,c2"', {}, /Mount it without/],
      ["a context= mount of ext4", "ext4", "rw,context=u:object_r:t:s0", {}, /Mount it without/],
    ] as const
  ) {
    it(`refuses ${what}`, () => {
      const storage = classify(mount(fsType, options), file);
      assert.match(storage.refused ?? "", why);
      assert.equal(storage.keepsLabels, false);
      assert.equal(storage.grade, "cooperative");
    });
  }

  for (
    // As the lab shows them; the lines of one server, each mounted with nosharecache.
    const [storage, line, wanted] of [
      ["ext4", "21 1 254:0 / / rw,noatime - ext4 /dev/vda rw,seclabel,noinit_itable", LABEL],
      [
        "xfs",
        "34 24 7:0 / /srv/xfs rw,relatime - xfs /dev/loop0 " +
        "rw,seclabel,attr2,inode64,logbufs=8,logbsize=32k,noquota",
        LABEL,
      ],
      [
        "NFS 4.2 with security_label",
        "39 24 0:33 / /srv/nfs42sec rw,relatime - nfs4 localhost:/export/nfs42sec " +
        "rw,seclabel,vers=4.2,rsize=262144,wsize=262144,namlen=255,hard,nosharecache,proto=tcp6," +
        "timeo=600,retrans=2,sec=sys,clientaddr=::1,local_lock=none,addr=::1",
        LABEL,
      ],
      [
        "NFS 4.2",
        "37 24 0:32 / /srv/nfs42 rw,relatime - nfs4 localhost:/export/nfs42 " +
        "rw,vers=4.2,rsize=262144,wsize=262144,namlen=255,hard,nosharecache,proto=tcp6," +
        "timeo=600,retrans=2,sec=sys,clientaddr=::1,local_lock=none,addr=::1",
        "virt_use_nfs, revoked by reopen, cooperative",
      ],
      [
        "NFS 3",
        "35 24 0:30 / /srv/nfs3 rw,relatime - nfs localhost:/export/nfs3 " +
        "rw,vers=3,rsize=262144,wsize=262144,namlen=255,hard,nosharecache,proto=tcp6,timeo=600," +
        "retrans=2,sec=sys,mountaddr=::1,mountvers=3,mountport=42065,mountproto=udp6," +
        "local_lock=none,addr=::1",
        "virt_use_nfs, revoked by reopen, cooperative",
      ],
    ] as const
  ) {
    it(`knows ${storage} by its line in mountinfo: ${wanted}`, () => {
      const [mount] = parseMountinfo(line).values();
      const { refused, openDeniedBy, boolean, revocation, grade, findings } = classify(mount!);
      assert.equal(refused, undefined);
      assert.equal(`${boolean ?? openDeniedBy}, revoked by ${revocation}, ${grade}`, wanted);
      assert.deepEqual(findings, []);
    });
  }

  it("takes a context= mount that is asked for by name, and promises nothing of each image", () => {
    const storage = classify(mount("nfs4", "rw,context=u:object_r:virt_image_t:s0"), {
      contextAsked: true,
    });
    assert.equal(storage.refused, undefined);
    assert.equal(storage.keepsLabels, false);
    assert.equal(storage.openDeniedBy, "type");
    assert.equal(storage.grade, "cooperative");
  });

  it("is not misled by fscontext=, defcontext= and rootcontext=, which leave each file its label", () => {
    const storage = classify(mount("ext4", "rw,seclabel,defcontext=u:object_r:t:s0"));
    assert.equal(storage.keepsLabels, true);
  });

  for (
    const [fsType, options, found] of [
      ["nfs", "rw,nolock,local_lock=all", ["nolock", "local_lock=all"]],
      ["nfs", "rw,local_lock=posix", ["local_lock=posix"]],
      ["nfs", "rw,local_lock=flock", ["local_lock=flock"]],
      ["nfs4", "rw,local_lock=none", []],
      ["nfs4", "rw,seclabel,local_lock=none", []],
      ["ext4", "rw,seclabel,nolock", []],
    ] as const
  ) {
    it(`finds ${found.join(" and ") || "nothing"} in ${fsType} ${options}`, () => {
      const { findings } = classify(mount(fsType, options));
      assert.deepEqual(findings.map((text) => /mounted with (\S+):/.exec(text)?.[1]), found);
    });
  }
});

describe("parseMountinfo", () => {
  const text = [
    "22 27 0:21 / /proc rw,relatime - proc proc rw",
    "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,seclabel",
    "36 27 0:42 /export /srv/with\\040blank\\134 rw shared:1 master:2 propagate_from:3 - nfs4 nas:/a\\011b rw,vers=4.2",
    "37 27 0:43 / /srv/- rw - - - tmpfs none rw",
    '38 27 0:44 / /srv/ctx ro,noexec - ext4 /dev/vdb rw,context="u:object_r:t:s0:c1,c2",errors=remount-ro',
    "39 27 0:45 / /no/separator rw ext4 /dev/vdc rw",
    "not a line at all",
    "",
  ].join("\n");
  const mounts = parseMountinfo(text);

  it("finds mounts by id and leaves out what is no mount", () => {
    assert.deepEqual([...mounts.keys()], [22n, 27n, 36n, 37n, 38n]);
    assert.deepEqual(mounts.get(27n), {
      id: 27n,
      device: "254:0",
      mountPoint: "/",
      fsType: "ext4",
      source: "/dev/vda",
      options: ["rw", "relatime", "rw", "seclabel"],
    });
  });

  it("reads octal escapes, and optional fields however many there are", () => {
    const { mountPoint, source, fsType } = mounts.get(36n)!;
    assert.deepEqual([mountPoint, source, fsType], ["/srv/with blank\\", "nas:/a\tb", "nfs4"]);
  });

  it("does not split a quoted context at its comma", () => {
    assert.deepEqual(mounts.get(38n)!.options, [
      "ro",
      "noexec",
      "rw",
      "context=u:object_r:t:s0:c1,c2",
      "errors=remount-ro",
    ]);
  });
});

describe("mountOf", () => {
  const openFolder = (path: string) =>
    new OwnedFd(openat2(AT_FDCWD, path, { flags: constants.O_RDONLY, resolve: 0n }), path);

  it("finds the mount of an open file on this machine", () => {
    using proc = openFolder("/proc");
    assert.equal(mountOf(proc).fsType, "proc");
  });

  it("fails where the mount is in another namespace", () => {
    using proc = openFolder("/proc");
    assert.throws(() => mountOf(proc, "27 1 254:0 / / rw - ext4 /dev/vda rw"), /not in \/proc/);
  });
});
