import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { ConfigError } from "../../config/config_error.ts";

/** The agent's modules; they belong together. policies/README.md */
export const MODULES = ["svirt_agent", "svirt_agent_runtime", "svirt_fd"] as const;

/** A module as it is to be installed. */
export interface ModuleSource {
  readonly name: string;
  /** Absolute path of the CIL. */
  readonly file: string;
  readonly text: string;
}

/** What a module brings, as far as its installation is concerned. */
export interface Declared {
  /** Types that files may have. */
  readonly types: readonly string[];
  readonly booleans: readonly DeclaredBoolean[];
  /** Of its own types. */
  readonly contexts: readonly FileContext[];
}

/** A boolean, and its value until somebody sets it. */
export interface DeclaredBoolean {
  readonly name: string;
  readonly value: boolean;
}

/** Paths, by an expression that is matched as a whole, and the type of what lies there. */
export interface FileContext {
  readonly expression: string;
  readonly kind: "file" | "any";
  readonly type: string;
}

/**
 * Reads the modules.
 *
 * @param folder Absent: those that came with this program.
 * @throws {@linkcode ConfigError} for one that is not there.
 */
export function readModules(folder: string = shipped()): ModuleSource[] {
  return MODULES.map((name) => {
    const file = join(folder, `${name}.cil`);
    if (!existsSync(file)) {
      const hint = `All of these are needed: ${MODULES.map((it) => `${it}.cil`).join(", ")}`;
      throw new ConfigError(file, "there is no such module", { hint });
    }
    return { name, file, text: readFileSync(file, "utf8") };
  });
}

/** policies/svirt_agent beside agent/, or beside the dist/ that agent/ was compiled to. */
function shipped(): string {
  const agent = fileURLToPath(new URL("../../..", import.meta.url));
  const folders = [agent, dirname(agent)].map((root) => join(root, "policies/svirt_agent"));
  return folders.find((folder) => existsSync(folder)) ?? folders[0]!;
}

/** Names a text in few characters: the beginning of its SHA-256. */
export function digestOf(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 12);
}

/** Reads what modules declare from their text. */
export function declaredBy(modules: readonly Pick<ModuleSource, "text">[]): Declared {
  const text = modules.map(({ text }) => text.replace(/^\s*;.*$/gm, "")).join("\n");
  const types = [...text.matchAll(/\(roletype object_r (\w+)\)/g)].map(([, type]) => type!);
  const context = /\(filecon "([^"]+)" (file|any) \(\w+ \w+ (\w+) /g;
  return {
    types,
    booleans: [...text.matchAll(/\(boolean (\w+) (true|false)\)/g)]
      .map(([, name, value]) => ({ name: name!, value: value === "true" })),
    contexts: [...text.matchAll(context)].map(([, expression, kind, type]) => ({
      expression: expression!,
      kind: kind as FileContext["kind"],
      type: type!,
    })).filter(({ type }) => types.includes(type)),
  };
}
