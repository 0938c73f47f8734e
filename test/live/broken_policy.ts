import { closeSync, constants, existsSync, openSync, readFileSync, writeSync } from "node:fs";
import { must } from "./command.ts";

/** Where the lab brings test/lab/sabotage as binary policies when it is told to. */
const FOLDER = "/run/svirt-lab/job/sabotage";

/** Puts a policy that is broken on purpose in force; booleans keep their values. */
export function loadBroken(name: string): void {
  const path = `${FOLDER}/${name}.policy`;
  if (!existsSync(path)) {
    throw new Error(`There is no ${path}\nhint: npm run lab -- run --sabotage -- ...`);
  }
  const policy = readFileSync(path);
  // The kernel takes a policy in one write(2).
  const load = openSync("/sys/fs/selinux/load", constants.O_WRONLY);
  try {
    const written = writeSync(load, policy);
    if (written !== policy.length) throw new Error(`${path}: ${written} bytes were loaded`);
  } finally {
    closeSync(load);
  }
}

/** The host's own policy again. */
export async function loadGood(): Promise<void> {
  await must("load_policy");
}
