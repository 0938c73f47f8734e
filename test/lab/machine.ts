import { spawn } from "node:child_process";
import { join } from "node:path";

/** One start of the virtual machine. */
export interface Boot {
  /** Folder of the image stage; its disk is not written to. */
  readonly image: string;
  readonly jobDisk: string;
  /** Raw file that the machine fills with a tar of its results. */
  readonly resultDisk: string;
  /** Where the kernel and the init scripts write; `undefined` gives the console to the terminal. */
  readonly consoleLog: string | undefined;
  /** The machine is killed after this time, whatever it does; `undefined`: never. */
  readonly limitSeconds: number | undefined;
  readonly onOutput: (bytes: Uint8Array) => void;
  /** Kills the machine. */
  readonly signal: AbortSignal | undefined;
}

/** How a machine ended; `off` is the one in which it left results. */
export type End = "off" | "time-limit" | "aborted";

/**
 * Runs the machine until it turns itself off or is killed.
 *
 * The disk is a snapshot, so every boot starts from the same state. No KVM: a development machine
 * is often a virtual one itself, and one whose /dev/kvm is there and cannot run a stock kernel
 * cannot be told from one that can.
 *
 * @throws `Error` with QEMU's own words when it does not start.
 */
export function boot(machine: Boot): Promise<End> {
  const [program, ...args] = qemuCommand(machine);
  const stdin = machine.consoleLog === undefined ? "inherit" : "ignore";
  const stdout = machine.consoleLog === undefined ? "inherit" : "pipe";
  const qemu = spawn(program!, args, { stdio: [stdin, stdout, "pipe"] });
  let end: End = "off";
  let stderr = "";
  const kill = (why: End) => {
    end = why;
    qemu.kill("SIGKILL");
  };
  const abort = () => kill("aborted");
  const timer = machine.limitSeconds === undefined
    ? undefined
    : setTimeout(() => kill("time-limit"), machine.limitSeconds * 1000);
  machine.signal?.addEventListener("abort", abort, { once: true });
  if (machine.signal?.aborted) abort();

  qemu.stdout?.on("data", machine.onOutput);
  qemu.stderr!.on("data", (bytes: Buffer) => stderr += bytes.toString());
  return new Promise((resolve, reject) => {
    qemu.on("error", reject);
    qemu.on("close", (status) => {
      clearTimeout(timer);
      machine.signal?.removeEventListener("abort", abort);
      if (end === "off" && status !== 0) reject(new Error(`QEMU exited with ${status}: ${stderr}`));
      else resolve(end);
    });
  });
}

/** All that TCG can emulate (Bun needs AVX2), but for a fifth level of page tables to walk. */
const CPU = "max,la57=off";

function qemuCommand({ image, jobDisk, resultDisk, consoleLog }: Boot): string[] {
  const disk = (id: string, file: string, options: string) => [
    ...["-drive", `id=${id},if=none,format=raw,file=${file.replaceAll(",", ",,")},${options}`],
    ...["-device", `virtio-blk-pci,drive=${id}`],
  ];
  // Chardev "stdio" twice is not possible, and a shell needs no second port.
  const serial = consoleLog === undefined
    ? ["-chardev", "stdio,id=console,mux=on,signal=off", "-serial", "chardev:console"]
    : ["-serial", `file:${consoleLog}`, "-serial", "stdio"];
  const kernelLine = [
    "console=ttyS0 quiet panic=-1",
    // QEMU 7.2 corrupts the flags after some cmpxchg16b: one kernel in four panicked at boot, in its
    // memory allocator. 141 is X86_FEATURE_CX16; programs may still use the instruction.
    "clearcpuid=141",
    // Time that an emulated processor would spend on dangers that an emulated one does not have.
    "mitigations=off nokaslr cryptomgr.notests nowatchdog",
    "security=selinux selinux=1 enforcing=1 audit=1 audit_backlog_limit=65536",
  ].join(" ");
  // deno-fmt-ignore
  return [
    // A killed parent takes the machine with it.
    "setpriv", "--pdeathsig", "KILL",
    "qemu-system-x86_64", "-accel", "tcg,thread=multi,tb-size=512", "-cpu", CPU, "-smp", "2",
    "-M", "q35", "-m", "2048", "-nodefaults", "-display", "none", "-no-reboot",
    "-kernel", join(image, "vmlinuz"), "-initrd", join(image, "initrd"), "-append", kernelLine,
    ...disk("root", join(image, "disk.ext4"), "snapshot=on,cache=unsafe"),
    ...disk("job", jobDisk, "readonly=on"),
    ...disk("result", resultDisk, "cache=unsafe"),
    ...serial,
  ];
}
