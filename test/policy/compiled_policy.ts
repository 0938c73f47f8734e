import {
  libsepol,
  type Opaque,
  type Out,
  SEPOL_COMPUTEAV_CONS,
  type SepolAvDecision,
} from "../../ffi/libsepol.ts";

/** A source of CIL, as {@linkcode CompiledPolicy.compile} takes it. */
export interface CilFile {
  readonly name: string;
  readonly text: string;
}

/** Values of booleans, by name; the others are as the policy declares them. */
export type Booleans = Readonly<Record<string, boolean>>;

/** What a policy answers to one question about one class. */
export interface Allowed {
  /** The permissions that are allowed, of those asked about and in their order. */
  readonly permissions: readonly string[];
  /** Those that a rule grants and a constraint takes away. */
  readonly constrained: readonly string[];
}

/**
 * A policy that was compiled from CIL and is asked on a machine without SELinux, by the code of
 * libsepol that the kernel's security server has too: constraints count.
 *
 * Meant for tests: what it takes stays taken until the process ends, and libsepol answers for one
 * policy at a time, so each question loads this one, with its booleans, anew when another was asked
 * last.
 */
export class CompiledPolicy {
  static #asked: string | undefined;
  static #count = 0;
  readonly #policydb: Opaque;
  readonly #handle: Opaque = libsepol().sepol_handle_create();
  readonly #id: number = CompiledPolicy.#count++;

  private constructor(policydb: Opaque) {
    this.#policydb = policydb;
  }

  /** @throws `SyntaxError` when the sources do not compile; libsepol says on stderr what is wrong. */
  static compile(files: readonly CilFile[]): CompiledPolicy {
    const sepol = libsepol();
    // What it says on stderr of an unknown name, the RangeError says; the compiler still speaks.
    sepol.sepol_debug(0);
    const db: Out<Opaque> = [null];
    sepol.cil_db_init(db);
    const policydb: Out<Opaque> = [null];
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
    return new CompiledPolicy(policydb[0]);
  }

  /**
   * Which of the permissions the source has on the target.
   *
   * @throws `RangeError` for a context, class, permission or boolean that the policy does not know.
   */
  ask(
    source: string,
    target: string,
    tclass: string,
    permissions: readonly string[],
    booleans: Booleans = {},
  ): Allowed {
    this.#load(booleans);
    const sepol = libsepol();
    const [ssid, tsid] = [sid(source), sid(target)];
    const number = out<number>(tclass, (out) => sepol.sepol_string_to_security_class(tclass, out));
    const decide = (permission: string) => {
      const bit = out<number>(
        permission,
        (out) => sepol.sepol_string_to_av_perm(number, permission, out),
      );
      const avd = {} as SepolAvDecision;
      const reason: Out<number> = [null];
      if (sepol.sepol_compute_av_reason(ssid, tsid, number, bit, avd, reason) !== 0) {
        throw new RangeError(`Cannot decide ${permission} of ${source} on ${target}`);
      }
      const allowed = (avd.allowed & bit) !== 0;
      return { permission, allowed, constrained: !allowed && reason[0] === SEPOL_COMPUTEAV_CONS };
    };
    const decided = permissions.map(decide);
    return {
      permissions: decided.filter(({ allowed }) => allowed).map(({ permission }) => permission),
      constrained: decided.filter((it) => it.constrained).map(({ permission }) => permission),
    };
  }

  /** Makes this policy, with these booleans, the one that libsepol answers for. */
  #load(booleans: Booleans): void {
    const asked = JSON.stringify([this.#id, booleans]);
    if (CompiledPolicy.#asked === asked) return;
    const sepol = libsepol();
    const image: Out<Opaque> = [null];
    const length: Out<number> = [null];
    const declared = Object.entries(booleans).map(([name, value]) =>
      [name, this.#set(name, value)] as const
    );
    sepol.sepol_policydb_to_image(this.#handle, this.#policydb, image, length);
    for (const [name, value] of declared) this.#set(name, value);
    const stream = sepol.fmemopen(image[0], length[0]!, "r");
    const failed = sepol.sepol_set_policydb_from_file(stream) !== 0;
    sepol.fclose(stream);
    sepol.free(image[0]);
    if (failed) throw new RangeError("Cannot load the compiled policy");
    CompiledPolicy.#asked = asked;
  }

  /** Sets a boolean; answers what it was. */
  #set(name: string, value: boolean): boolean {
    const sepol = libsepol();
    const key: Out<Opaque> = [null];
    sepol.sepol_bool_key_create(this.#handle, name, key);
    const boolean: Out<Opaque> = [null];
    sepol.sepol_bool_query(this.#handle, this.#policydb, key[0], boolean);
    if (boolean[0] === null) throw new RangeError(`The policy has no boolean ${name}`);
    const before = sepol.sepol_bool_get_value(boolean[0]) === 1;
    sepol.sepol_bool_set_value(boolean[0], value ? 1 : 0);
    sepol.sepol_bool_set(this.#handle, this.#policydb, key[0], boolean[0]);
    return before;
  }
}

function sid(context: string): number {
  return out<number>(
    context,
    (out) => libsepol().sepol_context_to_sid(context, context.length + 1, out),
  );
}

/** What a function put into its out-parameter. */
function out<T>(name: string, call: (out: Out<T>) => number): T {
  const value: Out<T> = [null];
  if (call(value) !== 0) throw new RangeError(`The policy does not know "${name}"`);
  return value[0] as T;
}
