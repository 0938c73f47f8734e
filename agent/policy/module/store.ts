/**
 * The host's store of policy modules, through libsemanage. Only {@link ./transaction.ts} calls it:
 * the library answers in seconds, and says on stderr why it will not.
 *
 * @module
 */

import { readFileSync } from "node:fs";
import {
  libsemanage,
  type Opaque,
  type Out,
  pointersAt,
  SEMANAGE_CAN_WRITE,
  SEMANAGE_CON_DIRECT,
  textAt,
} from "../../../ffi/libsemanage.ts";

/** The priority that semodule(8) gives, too. */
export const PRIORITY = 400;

/** Which store; the library finds the rest. */
export interface StorePlace {
  /** Of another system's files, such as an image that is being built; absent: this system's. */
  readonly root?: string | undefined;
  /** SELINUXTYPE of that system. */
  readonly name: string;
}

/** One module of the store. The same name may be there once for each priority; the highest counts. */
export interface StoredModule {
  readonly name: string;
  readonly priority: number;
  readonly enabled: boolean;
  /** Its CIL. */
  readonly text: string;
}

/** A rule of `semanage fcontext`. */
export interface LocalContext {
  readonly expression: string;
  readonly type: string;
}

/** What is in the store. */
export interface StoreContents {
  /** Of the names that were asked for. */
  readonly modules: readonly StoredModule[];
  readonly contexts: readonly LocalContext[];
}

/** What one transaction does. */
export interface StoreChange {
  readonly install: readonly { readonly name: string; readonly file: string }[];
  readonly enable: readonly string[];
  readonly remove: readonly { readonly name: string; readonly priority: number }[];
}

/** Which of the library's steps failed; what it says about it is on stderr. */
export type FailedStep = "load" | "manage" | "access" | "connect" | "begin" | "change" | "commit";

/** A step that failed. */
export class StoreError extends Error {
  override readonly name = "StoreError";
  readonly step: FailedStep;

  constructor(step: FailedStep, message: string) {
    super(message);
    this.step = step;
  }
}

/** A connection to the store; it lasts until the process ends. */
export class ModuleStore {
  readonly #handle: Opaque;

  /** @throws {@linkcode StoreError} */
  constructor({ root, name }: StorePlace) {
    const library = load();
    if (root !== undefined && library.semanage_set_root(root) !== 0) {
      throw new StoreError("connect", `semanage_set_root "${root}"`);
    }
    this.#handle = library.semanage_handle_create();
    library.semanage_select_store(this.#handle, name, SEMANAGE_CON_DIRECT);
    if (root !== undefined) library.semanage_set_reload(this.#handle, 0);
    if (library.semanage_is_managed(this.#handle) !== 1) {
      throw new StoreError("manage", `libsemanage manages no store "${name}"`);
    }
    if (library.semanage_access_check(this.#handle) < SEMANAGE_CAN_WRITE) {
      throw new StoreError("access", `the store "${name}" cannot be written`);
    }
    this.#require("connect", library.semanage_connect(this.#handle));
    this.#require("connect", library.semanage_set_default_priority(this.#handle, PRIORITY));
  }

  /** @param names Of the modules whose text is wanted. */
  read(names: readonly string[]): StoreContents {
    return { modules: this.#modules(names), contexts: this.#contexts() };
  }

  /**
   * Rebuilds the policy with the change and loads it: all or nothing.
   *
   * @throws {@linkcode StoreError}; libsemanage has put back what was there.
   */
  change({ install, enable, remove }: StoreChange): void {
    const library = libsemanage();
    this.#require("begin", library.semanage_begin_transaction(this.#handle));
    for (const { name, priority } of remove) {
      const key = this.#key(name, priority);
      this.#require("change", library.semanage_module_remove_key(this.#handle, key));
    }
    for (const { name, file } of install) {
      const text = readFileSync(file, "utf8");
      const size = Buffer.byteLength(text);
      this.#require(
        "change",
        library.semanage_module_install(this.#handle, text, size, name, "cil"),
      );
    }
    for (const name of enable) {
      const key = this.#key(name, PRIORITY);
      this.#require("change", library.semanage_module_set_enabled(this.#handle, key, 1));
    }
    // Also when nothing differs: a commit that was cut short may have left the policy unbuilt.
    library.semanage_set_rebuild(this.#handle, 1);
    this.#require("commit", library.semanage_commit(this.#handle));
  }

  #modules(names: readonly string[]): StoredModule[] {
    const library = libsemanage();
    const list: Out<Opaque> = [null], length: Out<number> = [null];
    this.#require("connect", library.semanage_module_list_all(this.#handle, list, length));
    return Array.from({ length: length[0]! }, (_, i) => {
      const info = library.semanage_module_list_nth(list[0], i);
      const name: Out<string> = [null], priority: Out<number> = [null];
      const enabled: Out<number> = [null];
      this.#require("connect", library.semanage_module_info_get_name(this.#handle, info, name));
      this.#require(
        "connect",
        library.semanage_module_info_get_priority(this.#handle, info, priority),
      );
      this.#require(
        "connect",
        library.semanage_module_info_get_enabled(this.#handle, info, enabled),
      );
      return { name: name[0]!, priority: priority[0]!, enabled: enabled[0] === 1 };
    })
      .filter(({ name }) => names.includes(name))
      .map((module) => ({ ...module, text: this.#text(module.name, module.priority) }));
  }

  #text(name: string, priority: number): string {
    const data: Out<Opaque> = [null], length: Out<number> = [null], info: Out<Opaque> = [null];
    const key = this.#key(name, priority);
    const library = libsemanage();
    this.#require(
      "connect",
      library.semanage_module_extract(this.#handle, key, 1, data, length, info),
    );
    return textAt(data[0], length[0]!);
  }

  #contexts(): LocalContext[] {
    const library = libsemanage();
    const records: Out<Opaque> = [null], count: Out<number> = [null];
    this.#require(
      "connect",
      library.semanage_fcontext_list_local(this.#handle, records, count),
    );
    return pointersAt(records[0], count[0]!).flatMap((record) => {
      const context = library.semanage_fcontext_get_con(record);
      if (context === null) return []; // <<none>>
      const expression = library.semanage_fcontext_get_expr(record);
      return [{ expression, type: library.semanage_context_get_type(context) }];
    });
  }

  #key(name: string, priority: number): Opaque {
    const library = libsemanage();
    const key: Out<Opaque> = [null];
    this.#require("connect", library.semanage_module_key_create(this.#handle, key));
    this.#require("connect", library.semanage_module_key_set_name(this.#handle, key[0], name));
    this.#require(
      "connect",
      library.semanage_module_key_set_priority(this.#handle, key[0], priority),
    );
    return key[0];
  }

  #require(step: FailedStep, answer: number): void {
    if (answer < 0) throw new StoreError(step, `libsemanage: ${step} failed`);
  }
}

function load(): ReturnType<typeof libsemanage> {
  try {
    return libsemanage();
  } catch (error) {
    throw new StoreError("load", (error as Error).message);
  }
}
