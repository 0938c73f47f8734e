/**
 * Runs before every npm script: makes node_modules what package-lock.json says.
 *
 * Plain JavaScript without dependencies, because the machine's own Node runs it (20 and newer), before
 * there is anything else. Says nothing and takes some 50 ms where there is nothing to do.
 *
 * npm's install scripts are off: newer npm refuses those nobody approved. The three that are needed,
 * which put the runtimes into place, are run here by name.
 *
 * @module
 */

import { spawn, spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const PROJECT = dirname(dirname(fileURLToPath(import.meta.url)));
const MODULES = join(PROJECT, "node_modules");

/** Runs the `.ts` files as they are, with `using`. */
const OLDEST_NODE = 24;

/** Each runtime's name in node_modules/.bin, its executable, and what puts that into its package. */
const RUNTIMES = [
  { name: "node", script: "installArchSpecificPackage.js", file: "bin/node" },
  // The oldest that runs dist/. npm itself might take it for `node`, which both packages call theirs.
  { name: "node22", script: "installArchSpecificPackage.js", file: "bin/node" },
  { name: "deno", script: "install.cjs", file: "deno" },
  { name: "bun", script: "install.js", file: "bin/bun.exe" },
];

class SetupError extends Error {}

/** Is each package there in the version of the lock, and no other? Times say nothing: git sets them. */
function isInstalled() {
  const installed = packagesOf(join(MODULES, ".package-lock.json"));
  if (installed === undefined) return false;
  const locked = packagesOf(join(PROJECT, "package-lock.json")) ?? {};
  return Object.entries(locked).every(([path, { version, optional }]) =>
    path === "" || (installed[path]?.version ?? (optional ? version : undefined)) === version
  );
}

function packagesOf(lockFile) {
  return existsSync(lockFile) ? JSON.parse(readFileSync(lockFile, "utf8")).packages : undefined;
}

/** Without its install script a package holds a launcher of some hundred bytes, or nothing. */
function isExecutable({ name, file }) {
  const link = join(MODULES, ".bin", name);
  const target = join(MODULES, name, file);
  return existsSync(link) && existsSync(target) && realpathSync(link) === realpathSync(target) &&
    statSync(target).size > 1_000_000;
}

/** Runs a program to its end; its output is shown only when it fails. */
function run(command, cwd = PROJECT) {
  const [program, ...args] = command;
  const env = {
    ...process.env,
    npm_config_audit: "false",
    npm_config_fund: "false",
    npm_config_loglevel: "error",
    npm_config_update_notifier: "false",
  };
  // Set by the npm that runs this script; would make it install into the project's own folder.
  delete env.npm_config_local_prefix;
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd, env, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    const collect = (text) => output += text;
    child.stdout.setEncoding("utf8").on("data", collect);
    child.stderr.setEncoding("utf8").on("data", collect);
    child.on("error", (error) => reject(new SetupError(`Cannot run ${program}: ${error.message}`)));
    child.on("close", (status) => {
      if (status === 0) resolve();
      else reject(new SetupError(`${output}\`${command.join(" ")}\` in ${cwd} failed (${status})`));
    });
  });
}

/** What `npm rebuild` would do, were it let. */
async function placeRuntime({ name, script, file }) {
  const folder = join(MODULES, name);
  await run([process.execPath, script], folder);
  const link = join(MODULES, ".bin", name);
  rmSync(link, { force: true });
  mkdirSync(dirname(link), { recursive: true });
  symlinkSync(join("..", name, file), link);
}

/** Says what is done, and how long it took. */
async function step(what, work) {
  process.stderr.write(`setup: ${what} ...`);
  const start = Date.now();
  try {
    await work();
    process.stderr.write(` ${((Date.now() - start) / 1000).toFixed(1)} s\n`);
  } catch (error) {
    process.stderr.write(" failed\n");
    throw error;
  }
}

async function setUp() {
  if (!isInstalled()) {
    await step("installing npm packages", () => run(["npm", "ci", "--ignore-scripts"]));
  }
  const missing = RUNTIMES.filter((runtime) => !isExecutable(runtime));
  if (missing.length > 0) {
    const names = missing.map(({ name }) => name).join(", ");
    await step(`placing ${names}`, () => Promise.all(missing.map(placeRuntime)));
  }
  const node = join(MODULES, ".bin", "node");
  const { stdout, error } = spawnSync(node, ["--version"], { encoding: "utf8" });
  const version = stdout?.trim() || `none${error ? ` (${error.message})` : ""}`;
  if (Number(/^v(\d+)/.exec(version)?.[1] ?? 0) < OLDEST_NODE) {
    throw new SetupError(`${node} has to be Node ${OLDEST_NODE} or newer, but is ${version}`);
  }
}

try {
  await setUp();
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  process.stderr.write(
    `setup: ${error.message}\n` +
      "Hint: this needs npm and its registry. To begin afresh: rm -rf node_modules && npm test\n",
  );
  process.exitCode = 1;
}
