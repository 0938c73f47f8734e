/**
 * Binary policies from CIL, on any machine, so that a test can say in a few lines what its policy
 * allows.
 *
 * @module
 */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import koffi from "koffi";
import { OfflinePolicy } from "../../agent/policy/offline.ts";
import { libsepol, type Opaque, type Out } from "../../ffi/libsepol.ts";

/** A source of CIL. */
export interface CilFile {
  readonly name: string;
  readonly text: string;
}

/** Of the project, also when this file is run from `dist/`, which has no sources of policy. */
const ROOT = import.meta.dirname.replace(/(\/dist)?\/test\/policy$/, "");

/** @param name Relative to the project. */
export function readCil(name: string): CilFile {
  return { name, text: readFileSync(join(ROOT, name), "utf8") };
}

/** The modules of the agent. */
export const MODULES: readonly string[] = ["svirt_agent", "svirt_agent_runtime", "svirt_fd"]
  .map((name) => `policies/svirt_agent/${name}.cil`);

/**
 * A policy in binary, of the newest version that libsepol writes here.
 *
 * @throws `SyntaxError` when the sources do not compile; libsepol says on stderr what is wrong.
 */
export function compile(files: readonly CilFile[]): Uint8Array {
  const sepol = libsepol();
  const db: Out<Opaque> = [null];
  const policydb: Out<Opaque> = [null];
  sepol.cil_db_init(db);
  try {
    const built = files.every(({ name, text }) =>
      sepol.cil_add_file(db[0], name, text, Buffer.byteLength(text)) === 0
    ) && sepol.cil_compile(db[0]) === 0 && sepol.cil_build_policydb(db[0], policydb) === 0;
    if (!built) {
      throw new SyntaxError(`Cannot compile ${
        files.map(({ name }) => name).join(", ")
      }`);
    }
  } finally {
    sepol.cil_db_destroy(db);
  }
  return imageOf(policydb[0]);
}

/** The same, to be asked. */
export function compiled(...files: readonly CilFile[]): OfflinePolicy {
  return new OfflinePolicy(compile(files), files.map(({ name }) => name).join(" "));
}

function imageOf(policydb: Opaque): Uint8Array {
  const sepol = libsepol();
  const image: Out<Opaque> = [null];
  const length: Out<number> = [null];
  const handle = sepol.sepol_handle_create();
  if (sepol.sepol_policydb_to_image(handle, policydb, image, length) !== 0) {
    throw new Error("sepol_policydb_to_image failed");
  }
  try {
    return new Uint8Array(koffi.view(image[0], length[0]!)).slice();
  } finally {
    sepol.free(image[0]);
  }
}
