import { spawnSync } from "node:child_process";
import { lstatSync, readdirSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { PolicyStoreError } from "./child.ts";
import type { FileContext } from "./source.ts";
import type { LocalContext } from "./store.ts";

/** One of the agent's own files, with another type than it should have. */
export interface WrongLabel {
  readonly path: string;
  readonly is: string;
  /** A type; or what says which. */
  readonly wanted: string;
}

/** What `restorecon` is told at once. */
const MOST_PATHS = 500;

/**
 * Finds the files that a module's file contexts name and that have another type, such as a program
 * that was installed before the module.
 *
 * @param local Of `semanage fcontext`: what an administrator says counts more.
 * @param typeOf Reads a file's type; `undefined` where it has none.
 */
export function findWrongLabels(
  contexts: readonly FileContext[],
  local: readonly LocalContext[],
  typeOf: (path: string) => string | undefined,
): WrongLabel[] {
  const overruled = local.map(({ expression }) => matcher(expression));
  return ownFiles(contexts).flatMap(({ path, isFile }) => {
    const context = contexts.findLast(({ expression, kind }) =>
      matcher(expression).test(path) && (kind === "any" || isFile)
    );
    const is = typeOf(path);
    if (context === undefined || is === undefined || is === context.type) return [];
    if (overruled.some((expression) => expression.test(path))) return [];
    return [{ path, is, wanted: context.type }];
  });
}

/** Finds the files that are named so and have a type of the modules', or one that no policy has. */
export function findLeftLabels(
  contexts: readonly FileContext[],
  types: readonly string[],
  typeOf: (path: string) => string | undefined,
): WrongLabel[] {
  return ownFiles(contexts).flatMap(({ path }) => {
    const is = typeOf(path);
    const isLeft = is !== undefined && (types.includes(is) || is === "unlabeled_t");
    return isLeft ? [{ path, is, wanted: "what restorecon says" }] : [];
  });
}

/**
 * Gives these files, and no others, the labels that the host's file contexts have for them.
 *
 * @throws {@linkcode PolicyStoreError} when restorecon(8) cannot.
 */
export function restoreLabels(labels: readonly WrongLabel[]): void {
  for (let from = 0; from < labels.length; from += MOST_PATHS) {
    const paths = labels.slice(from, from + MOST_PATHS).map(({ path }) => path);
    const { status, stderr, error } = spawnSync("restorecon", ["--", ...paths], {
      stdio: ["ignore", "ignore", "pipe"],
      encoding: "utf8",
    });
    if (status === 0) continue;
    throw new PolicyStoreError(
      `restorecon could not label the agent's files: ${error?.message ?? stderr.trim()}`,
      "The policy is as it should be. Once that is mended, do it again: only labels are left to do",
    );
  }
}

interface OwnFile {
  readonly path: string;
  readonly isFile: boolean;
}

/** What there is of `/run/name(/.*)?` and `/usr/sbin/name.*`, the two shapes that our modules use. */
function ownFiles(contexts: readonly FileContext[]): OwnFile[] {
  return contexts.flatMap(({ expression }) => {
    const tree = /^([^()[\]*?+|.]+)\(\/\.\*\)\?$/.exec(expression)?.[1];
    if (tree !== undefined) return walk(tree);
    const start = /^([^()[\]*?+|.]+)\.\*$/.exec(expression)?.[1];
    if (start === undefined) return [];
    const folder = dirname(start);
    return orGone(() => readdirSync(folder)).filter((name) => name.startsWith(basename(start)))
      .map((name) => join(folder, name))
      .flatMap((path) => orGone(() => [{ path, isFile: lstatSync(path).isFile() }]));
  });
}

function walk(path: string): OwnFile[] {
  return orGone(() => {
    const stat = lstatSync(path);
    const here = { path, isFile: stat.isFile() };
    if (!stat.isDirectory()) return [here];
    return [here, ...readdirSync(path).flatMap((name) => walk(join(path, name)))];
  });
}

function matcher(expression: string): RegExp {
  try {
    return new RegExp(`^(?:${expression})$`);
  } catch {
    return /^(?!)/; // file contexts are PCRE: what JavaScript cannot read is not about our paths
  }
}

function orGone<T>(look: () => T[]): T[] {
  try {
    return look();
  } catch (error) {
    if (["ENOENT", "ENOTDIR"].includes((error as { code?: string }).code ?? "")) return [];
    throw error;
  }
}
