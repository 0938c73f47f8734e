import { closeSync, openSync, readFileSync, truncateSync, writeSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { hostCommand } from "../host_command.ts";
import { bootBlob } from "./blob.ts";

/** test/live/booted_guest.ts gives its guest as much. */
const MEMORY = 128 << 20;
/** Sectors 1024 to 1031 are the guest's to write. ./init */
const BLOB_SECTOR = 2048;
const SECTOR = 512;
/** What boot.S reads at once. */
const CHUNK = 32 << 10;
const DISK_SIZE = 64 << 20;

/**
 * With ACPI, without which Linux finds no disk behind a root port. Without IPv6 and what only costs
 * time, because each would have to be translated twice before it runs: entropy from jitter, names of
 * trace events, certificates.
 */
const COMMAND_LINE = [
  ...["console=ttyS0", "quiet", "panic=-1", "mitigations=off", "nokaslr", "nowatchdog", "nosmp"],
  ...["tsc=reliable", "no_timer_check", "lpj=4000000"],
  ...["audit=0", "lsm=", "ipv6.disable=1", "cryptomgr.notests"],
  "initcall_blacklist=jent_mod_init,crypto_kdf108_init,load_system_certificate_list," +
  "trace_eval_init,init_kprobe_trace,init_kprobes",
].join(" ");

/**
 * Makes the disk of a guest that boots in the lab: boot.S, and behind it what that reads.
 *
 * @param initrd Packed by gzip.
 * @param disk Made; sparse.
 * @param scratch A folder for what the assembler leaves.
 */
export async function makeBootDisk(
  vmlinuz: string,
  initrd: string,
  disk: string,
  scratch: string,
): Promise<void> {
  const unpacked = gunzipSync(readFileSync(initrd));
  const { load, entry, bytes } = bootBlob(readFileSync(vmlinuz), unpacked, COMMAND_LINE, MEMORY);
  const symbols = { LOAD: load, ENTRY: entry, SECTOR: BLOB_SECTOR } as const;
  const defined = { ...symbols, CHUNKS: Math.ceil(bytes.length / CHUNK) };
  const [object, sector] = [join(scratch, "boot.o"), join(scratch, "boot.bin")];
  const options = Object.entries(defined).map(([name, value]) => `-Wa,--defsym,${name}=${value}`);
  const source = join(import.meta.dirname, "boot.S");
  await hostCommand(["gcc", "-m32", "-c", "-o", object, ...options, source]);
  const flat = ["-m", "elf_i386", "-Ttext", "0x7c00", "--oformat", "binary"];
  await hostCommand(["ld", ...flat, "-o", sector, object]);
  const fd = openSync(disk, "w");
  try {
    writeSync(fd, readFileSync(sector));
    writeSync(fd, bytes, 0, bytes.length, BLOB_SECTOR * SECTOR);
  } finally {
    closeSync(fd);
  }
  truncateSync(disk, DISK_SIZE);
}
