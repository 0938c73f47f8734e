import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { checkArguments } from "../../agent/config/arguments.ts";
import { FLAGS, REFUSED, VALUED } from "../../agent/config/file_options.ts";
import { Place } from "../../agent/config/schema.ts";

const place = new Place("web1.toml", "qemu.args");
const check = (line: string) => checkArguments(line.split(" "), place);

describe("args of QEMU", () => {
  for (
    const line of [
      "-machine q35 -m 2048 -display none",
      "--machine q35,smm=on,kernel_irqchip=split -cpu host,+x2apic -smp 4,sockets=2",
      "-serial none -serial null -parallel none -serial stdio -serial chardev:s0",
      "-chardev null,id=s0 -chardev socket,id=s1,host=127.0.0.1,port=4444,server=on",
      "-device virtio-rng-pci -object rng-random,id=rng0 -device virtio-net-pci,netdev=n0,romfile=",
      '-device {"driver":"virtio-net-pci","netdev":"n0","addr":3}',
      "-netdev user,id=n0,hostfwd=tcp::2222-:22 -netdev tap,id=n1,script=no,downscript=no",
      "-object memory-backend-memfd,id=mem0,size=1G,share=on -numa node,memdev=mem0",
      "-nographic -no-reboot -nodefaults -global ICH9-LPC.disable_s3=1 -rtc base=utc",
      "-vnc 127.0.0.1:1 -k en-us -smbios type=1,serial=12-34 -uuid 0-0 -boot order=c",
      "-gdb tcp::1234 -trace enable=qmp_* -action panic=pause",
    ]
  ) {
    it(`may be ${line}`, () => check(line));
  }

  for (
    const [line, message] of [
      ["-m 2048 -drive file=/x", "qemu.args[2]: -drive is not allowed (describe it as [[image]])"],
      ["--blockdev x", "qemu.args[0]: -blockdev is not allowed (describe it as [[image]])"],
      ["-hda x", "qemu.args[0]: -hda is not allowed (describe it as [[image]])"],
      [
        "-kernel vmlinuz",
        "qemu.args[0]: -kernel is not allowed (it names a file that nobody granted)",
      ],
      ["-S", "qemu.args[0]: -S is not allowed (the agent sets this itself)"],
      ["-qmp stdio", "qemu.args[0]: -qmp is not allowed (the agent alone speaks to the monitor)"],
      ["-enable-kvm", "qemu.args[0]: -enable-kvm is not allowed (say qemu.accelerator)"],
      [
        "-machine q35,accel=tcg",
        "qemu.args[1]: -machine accel= is not allowed (say qemu.accelerator)",
      ],
      [
        "-device e1000,romfile=x.rom",
        "qemu.args[1]: -device romfile= is not allowed (it names a file that nobody granted)",
      ],
      ['-device {"driver":"e1000","romfile":"x"}', /-device romfile= is not allowed/],
      [
        '-netdev {"type":"stream","addr":{"type":"unix","path":"s"}}',
        /-netdev path= is not allowed/,
      ],
      ["-netdev stream,id=n,addr.type=unix,addr.path=s", /-netdev addr\.path= is not allowed/],
      [
        "-netdev tap,id=n,script=up.sh",
        /-netdev script= is not allowed \(it runs a program or script/,
      ],
      ["-object memory-backend-file,id=m,mem-path=m", /-object mem-path= is not allowed/],
      ["-object rng-random,filename=r", /-object filename= is not allowed/],
      ["-object secret,id=s,file=s", /-object file= is not allowed/],
      ["-object tls-creds-x509,id=t,dir=t", /-object dir= is not allowed/],
      ["-chardev file,id=f,path=log", /-chardev path= is not allowed/],
      ["-chardev null,id=f,logfile=log", /-chardev logfile= is not allowed/],
      ["-global virtio-net-pci.romfile=x", /-global virtio-net-pci\.romfile= is not allowed/],
      [
        "-global driver=virtio-net-pci,property=romfile,value=x",
        /-global property=romfile is not allowed/,
      ],
      ["-trace file=t", /-trace file= is not allowed/],
      ["-smbios file=b", /-smbios file= is not allowed/],
      [
        "-device x,y=/etc/shadow",
        '-device "/etc/shadow" names a file (it is one that nobody granted)',
      ],
      ["-device x,y=../z", /-device "\.\.\/z" names a file/],
      ["-vnc unix:/run/vnc", "qemu.args[1]: -vnc names a socket (say host:display)"],
      ["-k ../../etc/x", "qemu.args[1]: -k names a file (say a language: en-us)"],
      [
        "-serial file:log",
        'qemu.args[1]: -serial "file:log" is not allowed (say "none", "null" or "stdio")',
      ],
      ["-serial mon:stdio", /-serial "mon:stdio" is not allowed/],
      ["-gdb unix:g", /-gdb "unix:g" is not allowed/],
      [
        "disk.img",
        'qemu.args[0]: "disk.img": QEMU takes a bare word as a disk (describe it as [[image]])',
      ],
      [
        "-nographic disk.img",
        'qemu.args[1]: "disk.img": QEMU takes a bare word as a disk (describe it as [[image]])',
      ],
      ["-m 2048 disk.img", /^web1\.toml: qemu\.args\[2\]: "disk\.img": QEMU takes a bare word/],
      ["-devise x", "qemu.args[0]: -devise is not known (did you mean -device?)"],
      [
        "-frobnicate x",
        "qemu.args[0]: -frobnicate is not known (the agent cannot say what it opens)",
      ],
      ["-constructor x", /-constructor is not known/],
      ["-m", "qemu.args[0]: -m has no value"],
    ] as [string, string | RegExp][]
  ) {
    it(`must not be ${line}`, () => {
      assert.throws(() => check(line), (error: Error) => {
        if (message instanceof RegExp) assert.match(error.message, message);
        else assert(error.message.endsWith(message), error.message);
        return error.name === "ConfigError";
      });
    });
  }

  it("takes no option for two kinds at once", () => {
    const all = [...Object.keys(REFUSED), ...FLAGS, ...VALUED];
    assert.equal(new Set(all).size, all.length);
  });
});
