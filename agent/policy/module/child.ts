import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { harmless } from "../../io/json.ts";
import { commandFor } from "../../process/runtime.ts";
import { readAnswer } from "./answer.ts";
import type { FailedStep, StoreChange, StoreContents, StorePlace } from "./store.ts";
import type { Transaction } from "./transaction.ts";

/** How often somebody who waits is told that it goes on. */
const TELL_MS = 5000;
/** Lines of libsemanage that are passed on. */
const MOST_LINES = 8;

/** The store of policy modules could not be read or changed. */
export class PolicyStoreError extends Error {
  override readonly name = "PolicyStoreError";
  readonly hint: string | undefined;
  readonly step: FailedStep | undefined;

  constructor(message: string, hint?: string, step?: FailedStep) {
    super(message);
    this.hint = hint;
    this.step = step;
  }
}

/**
 * Finds the store of this system, or of one whose files lie under `root`.
 *
 * @throws {@linkcode PolicyStoreError} where no policy is installed.
 */
export function findStore(root: string | undefined): StorePlace {
  const config = `${root ?? ""}/etc/selinux/config`;
  const name = existsSync(config)
    ? /^SELINUXTYPE=\s*(\S+)/m.exec(readFileSync(config, "utf8"))?.[1]
    : undefined;
  if (name === undefined) {
    throw new PolicyStoreError(
      `No SELinux policy is installed: ${config} names none`,
      "Install the distribution's, such as Debian's selinux-policy-default; see selinux(8)",
    );
  }
  return { root, name };
}

/** libsemanage's own folder of a store. */
function storeFolder({ root = "", name }: StorePlace): string {
  return `${root}/var/lib/selinux/${name}`;
}

/**
 * Was a commit cut short after it had replaced the modules? Then the policy that is loaded may be
 * the one before. libsemanage removes the former modules last; semanage.conf(5) `save-previous`
 * keeps them.
 */
export function wasCutShort(place: StorePlace): boolean {
  const configuration = `${place.root ?? ""}/etc/selinux/semanage.conf`;
  const keeps = existsSync(configuration) &&
    /^\s*save-previous\s*=\s*true/m.test(readFileSync(configuration, "utf8"));
  return !keeps && existsSync(`${storeFolder(place)}/previous`);
}

/** @throws {@linkcode PolicyStoreError} */
export async function readStore(
  place: StorePlace,
  names: readonly string[],
): Promise<StoreContents> {
  return await ask({ place, read: names }) as StoreContents;
}

/**
 * Changes the store in one transaction. Once begun it comes to its end, even when this process is
 * killed: it is a session of its own.
 *
 * @param say Told what goes on, at least every five seconds.
 * @throws {@linkcode PolicyStoreError}; the store is then as it was.
 */
export async function changeStore(
  place: StorePlace,
  change: StoreChange,
  say: (line: string) => void,
): Promise<void> {
  say("rebuilding the policy with it and loading it: 5 to 30 s");
  const start = Date.now();
  const timer = setInterval(
    () => say(`still rebuilding: ${Math.round((Date.now() - start) / 1000)} s`),
    TELL_MS,
  );
  try {
    await ask({ place, change });
  } finally {
    clearInterval(timer);
  }
}

async function ask(transaction: Transaction): Promise<unknown> {
  const [command, ...args] = commandFor(
    import.meta.url,
    "transaction",
    JSON.stringify(transaction),
  );
  const child = spawn(command, args, {
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
    cwd: "/",
  });
  let stdout = "", stderr = "";
  child.stdout.on("data", (chunk) => stdout += chunk);
  child.stderr.on("data", (chunk) => stderr += chunk);
  const end = await new Promise<string>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve(signal ?? `exit ${code}`));
  });
  const { place, change } = transaction;
  const said = stderr.trim().split("\n").filter(Boolean).slice(-MOST_LINES)
    .map((line) => harmless(nameSource(line, change)));
  const answer = readAnswer(stdout);
  if (answer === undefined) {
    throw new PolicyStoreError(
      [`the process that works on the policy store ended by ${end}`, ...said].join("\n  "),
      "Do it again: that finds out what is left to do",
    );
  }
  const { failed, message } = answer as { failed?: FailedStep; message?: string };
  if (failed === undefined) return answer;
  throw new PolicyStoreError([message, ...said].join("\n  "), hintFor(failed, place), failed);
}

/** libsemanage names its own copy of a module, which is compressed; the line is that of the source. */
export function nameSource(line: string, change: Pick<StoreChange, "install"> | undefined): string {
  return line.replace(/\S+\/modules\/(\d+)\/([\w.-]+)\/cil:/, (_, priority, name) => {
    const source = change?.install.find((it) => it.name === name);
    return source === undefined ? `module ${name} (priority ${priority}):` : `${source.file}:`;
  });
}

/** What to do about it. */
function hintFor(step: FailedStep, place: StorePlace): string {
  const folder = storeFolder(place);
  const isMissing = !existsSync(`${folder}/active`) && existsSync(`${folder}/previous`);
  if (isMissing) {
    return `A commit was cut short; put its backup back: mv ${folder}/{previous,active}`;
  }
  return HINTS[step](folder);
}

const HINTS: Readonly<Record<FailedStep, (folder: string) => string>> = {
  load: () => "Install libsemanage (Debian: libsemanage2)",
  manage: (folder) => `Is the policy one of modules? ls ${folder}/active/modules`,
  access: (folder) => `Only root may, and not in every domain. See: ls -ldZ ${folder}; id -Z`,
  connect: (folder) => `See: ls -lZ ${folder}; ausearch -m AVC -ts recent`,
  begin: (folder) =>
    "Another program changes the policy: semodule, semanage, an installation of packages. Wait for " +
    `it, or find it: fuser ${folder}/semanage.trans.LOCK`,
  change: (folder) => `See: ls -lZ ${folder}; df ${folder}`,
  commit: () =>
    "A name that cannot be resolved is one that this distribution's policy lacks, or that another " +
    "module wants of these: semodule --list=full",
};
