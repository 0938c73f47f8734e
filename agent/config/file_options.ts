/**
 * The options of QEMU as a guest file may give them: those that are refused, each with the reason or
 * what to do instead; those that are not; and the keys in their values that name files.
 *
 * @module
 */

const IMAGE = "describe it as [[image]]";
const OURS = "the agent sets this itself";
const BACKDOOR = "the agent alone speaks to the monitor";
const FILE = "it names a file that nobody granted";
const ACCELERATOR = "say qemu.accelerator";
const SHELL = "it runs a program or script, which guests may not";

/** Refused whatever their value. */
// deno-fmt-ignore
export const REFUSED: Readonly<{ [option: string]: string }> = {
  // Disks.
  drive: IMAGE, blockdev: IMAGE, hda: IMAGE, hdb: IMAGE, hdc: IMAGE, hdd: IMAGE, cdrom: IMAGE,
  fda: IMAGE, fdb: IMAGE, mtdblock: IMAGE, sd: IMAGE, pflash: IMAGE, usbdevice: IMAGE,
  snapshot: "it writes temporary files; describe a transient disk as [[image]]",
  iscsi: FILE, hdachs: IMAGE,
  // Firmware, kernels and tables.
  kernel: FILE, initrd: FILE, dtb: FILE, shim: FILE, "option-rom": FILE, bios: FILE,
  acpitable: FILE, L: FILE, append: "it belongs to -kernel, which names a file",
  // Folders and memory.
  fsdev: FILE, virtfs: FILE, "mem-path": FILE,
  // State of a machine.
  incoming: OURS, loadvm: "the state lies in an image that the agent has to attach first",
  // Configuration and what can change any other option.
  readconfig: "it can hold every other option; write them into args", writeconfig: FILE,
  set: "it can change every other option; write that one itself",
  // Monitors.
  monitor: BACKDOOR, qmp: BACKDOOR, "qmp-pretty": BACKDOOR, mon: BACKDOOR,
  // What confines QEMU.
  "add-fd": OURS, sandbox: OURS, runas: OURS, "run-with": OURS, chroot: OURS, daemonize: OURS,
  S: OURS, pidfile: OURS, preconfig: OURS, name: OURS, "async-teardown": OURS,
  // It decides the domain, and so what SELinux allows.
  accel: ACCELERATOR, "enable-kvm": ACCELERATOR, "no-kvm": ACCELERATOR,
  "xen-domid": ACCELERATOR, "xen-attach": ACCELERATOR, "xen-domid-restrict": ACCELERATOR,
  // Logs, traces and debugging.
  D: FILE, plugin: FILE, "dump-vmstate": FILE, perfmap: FILE, jitdump: FILE,
};

/** Options without a value. After them, and after any value, a bare word is a disk to QEMU. */
export const FLAGS: ReadonlySet<string> = new Set([
  "mem-prealloc",
  "audio-help",
  "usb",
  "nographic",
  "portrait",
  "full-screen",
  "win2k-hack",
  "no-fd-bootchk",
  "no-acpi",
  "no-hpet",
  "singlestep",
  "s",
  "no-reboot",
  "no-shutdown",
  "only-migratable",
  "nodefaults",
  "no-user-config",
  "semihosting",
  "enable-sync-profile",
  "old-param",
  "h",
  "help",
  "version",
]);

/** Options with a value, which is looked into. QEMU 7.2 to 10.1. */
export const VALUED: ReadonlySet<string> = new Set([
  "machine",
  "M",
  "cpu",
  "smp",
  "numa",
  "global",
  "boot",
  "m",
  "k",
  "audio",
  "audiodev",
  "device",
  "uuid",
  "display",
  "spice",
  "rotate",
  "vga",
  "g",
  "vnc",
  "smbios",
  "netdev",
  "nic",
  "net",
  "chardev",
  "tpmdev",
  "compat",
  "fw_cfg",
  "serial",
  "parallel",
  "debugcon",
  "overcommit",
  "gdb",
  "d",
  "dfilter",
  "seed",
  "action",
  "rtc",
  "icount",
  "watchdog-action",
  "echr",
  "prom-env",
  "semihosting-config",
  "tb-size",
  "trace",
  "msg",
  "object",
  "smp-cache",
  "igvm-cfg",
]);

/** Keys whose value is a file, socket, folder or program of the host, in whatever option. */
// deno-fmt-ignore
export const FILE_KEYS: Readonly<{ [key: string]: string }> = {
  file: FILE, filename: FILE, path: FILE, dir: FILE, romfile: FILE, "mem-path": FILE,
  firmware: FILE, bios: FILE, kernel: FILE, initrd: FILE, dtb: FILE, dumpdtb: FILE, shim: FILE,
  logfile: FILE, "input-path": FILE, rrfile: FILE, keyring: FILE, events: FILE,
  rootdir: FILE, sysfsdev: FILE, hostdevice: FILE, evdev: FILE, hidraw: FILE, vhostdev: FILE,
  sdrfile: FILE, frudatafile: FILE, "dh-cert-file": FILE, "session-file": FILE, "sev-device": FILE,
  rendernode: FILE, splash: FILE, socket: FILE, sock: FILE, "cancel-path": FILE, db: FILE,
  "x509-dir": FILE, "x509-key-file": FILE, "x509-cert-file": FILE, "x509-cacert-file": FILE,
  "x509-dh-key-file": FILE, "addr.path": FILE, "local.path": FILE, "remote.path": FILE,
  "in.dev": FILE, "out.dev": FILE, smb: FILE, tftp: FILE, "config-file": FILE,
  "priv-key": FILE, pubkey: FILE, cert: FILE, counter: FILE, drive: IMAGE,
  downscript: SHELL, script: SHELL, helper: SHELL, guestfwd: SHELL, command: SHELL, exec: SHELL,
  accel: ACCELERATOR,
};
