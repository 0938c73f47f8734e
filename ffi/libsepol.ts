/**
 * libsepol.so.2, as its headers declare it: compiles CIL, and answers as the kernel's own security
 * server would, constraints included, on any machine.
 *
 * Nothing here checks a result: the caller does. The functions of
 * <sepol/policydb/services.h> work on the one policy that `sepol_set_policydb_from_file` loaded
 * last.
 *
 * @module
 */

import koffi from "koffi";
import { bind } from "./check.ts";

/** Memory of the library: cil_db_t, sepol_policydb_t and the like. */
export type Opaque = unknown;

/** Out-parameter. */
export type Out<T> = [T | null];

/** What denied some of the permissions that were asked for; <sepol/policydb/services.h>. */
export const SEPOL_COMPUTEAV_TE = 1;
export const SEPOL_COMPUTEAV_CONS = 2;
export const SEPOL_COMPUTEAV_RBAC = 4;
export const SEPOL_COMPUTEAV_BOUNDS = 8;

/** The functions that are called, of libsepol.so.2 and, to hand it a policy in memory, libc.so.6. */
export interface Libsepol {
  cil_db_init(db: Out<Opaque>): void;
  cil_db_destroy(db: Out<Opaque>): void;
  cil_add_file(db: Opaque, name: string, data: string, size: number): number;
  cil_compile(db: Opaque): number;
  cil_build_policydb(db: Opaque, policydb: Out<Opaque>): number;
  sepol_debug(on: number): void;
  sepol_handle_create(): Opaque;
  sepol_policydb_to_image(
    handle: Opaque,
    policydb: Opaque,
    image: Out<Opaque>,
    length: Out<number>,
  ): number;
  sepol_set_policydb_from_file(stream: Opaque): number;
  sepol_context_to_sid(context: string, length: number, sid: Out<number>): number;
  sepol_compute_av_reason(
    ssid: number,
    tsid: number,
    tclass: number,
    requested: number,
    avd: Uint32Array,
    reason: Uint32Array,
  ): number;
  sepol_compute_av_reason_buffer(
    ssid: number,
    tsid: number,
    tclass: number,
    requested: number,
    avd: Uint32Array,
    reason: Uint32Array,
    reason_buf: Out<Opaque>,
    flags: number,
  ): number;
  sepol_policy_kern_vers_max(): number;
  fmemopen(buffer: Opaque, size: number, mode: string): Opaque;
  fclose(stream: Opaque): number;
  free(memory: Opaque): void;
}

let loaded: Libsepol | undefined;

/** Text that a function allocated, which is freed; `undefined` when it allocated none. */
export function takeText(memory: Opaque): string | undefined {
  if (memory === null) return undefined;
  try {
    return koffi.decode(memory, "char", -1) as string;
  } finally {
    libsepol().free(memory);
  }
}

/**
 * Loads libsepol on first use.
 *
 * @throws `Error` when libsepol.so.2 is not installed.
 */
export function libsepol(): Libsepol {
  if (loaded !== undefined) return loaded;
  const so = koffi.load("libsepol.so.2");
  const libc = koffi.load("libc.so.6");

  // deno-fmt-ignore
  loaded = {
    cil_db_init:                    bind(so, "void cil_db_init(_Out_ void **db)"),                                                       // <sepol/cil/cil.h>
    cil_db_destroy:                 bind(so, "void cil_db_destroy(_Inout_ void **db)"),                                                  // same header
    cil_add_file:                   bind(so, "int cil_add_file(void *db, const char *name, const char *data, size_t size)"),             // same header
    cil_compile:                    bind(so, "int cil_compile(void *db)"),                                                               // same header
    cil_build_policydb:             bind(so, "int cil_build_policydb(void *db, _Out_ void **policydb)"),                                 // same header
    sepol_debug:                    bind(so, "void sepol_debug(int on)"),                                                                // <sepol/debug.h>
    sepol_handle_create:            bind(so, "void *sepol_handle_create(void)"),                                                         // <sepol/handle.h>
    sepol_policydb_to_image:        bind(so, "int sepol_policydb_to_image(void *handle, void *policydb, _Out_ void **newdata, _Out_ size_t *newlen)"), // <sepol/policydb.h>
    sepol_set_policydb_from_file:   bind(so, "int sepol_set_policydb_from_file(void *fp)"),                                              // <sepol/policydb/services.h>
    sepol_context_to_sid:           bind(so, "int sepol_context_to_sid(const char *scontext, size_t scontext_len, _Out_ uint32_t *out_sid)"), // same header
    sepol_compute_av_reason:        bind(so, "int sepol_compute_av_reason(uint32_t ssid, uint32_t tsid, uint16_t tclass, uint32_t requested, uint32_t *avd, unsigned int *reason)"), // same header
    sepol_compute_av_reason_buffer: bind(so, "int sepol_compute_av_reason_buffer(uint32_t ssid, uint32_t tsid, uint16_t tclass, uint32_t requested, uint32_t *avd, unsigned int *reason, _Out_ void **reason_buf, unsigned int flags)"), // same header
    sepol_policy_kern_vers_max:     bind(so, "int sepol_policy_kern_vers_max(void)"),                                                     // <sepol/policydb.h>
    fmemopen:                       bind(libc, "void *fmemopen(void *buf, size_t size, const char *mode)"),                              // fmemopen(3)
    fclose:                         bind(libc, "int fclose(void *stream)"),                                                              // fclose(3)
    free:                           bind(libc, "void free(void *ptr)"),                                                                  // free(3)
  };
  return loaded;
}
