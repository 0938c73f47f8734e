/**
 * libsemanage.so.2, as its headers declare it: the store of policy modules, and the transaction that
 * rebuilds the policy from them and loads it.
 *
 * Nothing here checks a result: {@link ../agent/policy/module/store.ts} does. What goes wrong it
 * writes on stderr, which is why that file runs in a process of its own.
 *
 * @module
 */

import koffi from "koffi";
import { bind } from "./check.ts";

/** Memory of the library: semanage_handle_t, semanage_module_info_t and the like. */
export type Opaque = unknown;

/** Out-parameter. */
export type Out<T> = [T | null];

/** enum semanage_connect_type; <semanage/handle.h>. */
export const SEMANAGE_CON_DIRECT = 1;
/** semanage_access_check(3): it may be read and written. */
export const SEMANAGE_CAN_WRITE = 2;

/** The functions of libsemanage.so.2 that are called. */
export interface Libsemanage {
  semanage_set_root(root: string): number;
  semanage_handle_create(): Opaque;
  semanage_select_store(handle: Opaque, path: string, type: number): void;
  semanage_set_rebuild(handle: Opaque, rebuild: number): void;
  semanage_set_reload(handle: Opaque, reload: number): void;
  semanage_set_default_priority(handle: Opaque, priority: number): number;
  semanage_access_check(handle: Opaque): number;
  semanage_is_managed(handle: Opaque): number;
  semanage_connect(handle: Opaque): number;
  semanage_begin_transaction(handle: Opaque): number;
  semanage_commit(handle: Opaque): number;
  semanage_module_list_all(handle: Opaque, modinfos: Out<Opaque>, length: Out<number>): number;
  semanage_module_list_nth(list: Opaque, n: number): Opaque;
  semanage_module_info_get_name(handle: Opaque, info: Opaque, name: Out<string>): number;
  semanage_module_info_get_priority(handle: Opaque, info: Opaque, priority: Out<number>): number;
  semanage_module_info_get_enabled(handle: Opaque, info: Opaque, enabled: Out<number>): number;
  semanage_module_key_create(handle: Opaque, key: Out<Opaque>): number;
  semanage_module_key_set_name(handle: Opaque, key: Opaque, name: string): number;
  semanage_module_key_set_priority(handle: Opaque, key: Opaque, priority: number): number;
  semanage_module_extract(
    handle: Opaque,
    key: Opaque,
    cil: number,
    data: Out<Opaque>,
    length: Out<number>,
    info: Out<Opaque>,
  ): number;
  semanage_module_install(
    handle: Opaque,
    data: string,
    length: number,
    name: string,
    language: string,
  ): number;
  semanage_module_remove_key(handle: Opaque, key: Opaque): number;
  semanage_module_set_enabled(handle: Opaque, key: Opaque, enabled: number): number;
  semanage_fcontext_list_local(handle: Opaque, records: Out<Opaque>, count: Out<number>): number;
  semanage_fcontext_get_expr(record: Opaque): string;
  semanage_fcontext_get_con(record: Opaque): Opaque;
  semanage_context_get_type(context: Opaque): string;
}

let loaded: Libsemanage | undefined;

/**
 * Loads libsemanage on first use.
 *
 * @throws `Error` when libsemanage.so.2 is not installed.
 */
export function libsemanage(): Libsemanage {
  if (loaded !== undefined) return loaded;
  const so = koffi.load("libsemanage.so.2");
  // deno-fmt-ignore
  loaded = {
    semanage_set_root:                 bind(so, "int semanage_set_root(const char *root)"),                                       // <semanage/semanage.h>
    semanage_handle_create:            bind(so, "void *semanage_handle_create(void)"),                                            // <semanage/handle.h>
    semanage_select_store:             bind(so, "void semanage_select_store(void *handle, const char *path, int storetype)"),     // same header
    semanage_set_rebuild:              bind(so, "void semanage_set_rebuild(void *handle, int do_rebuild)"),                       // same header
    semanage_set_reload:               bind(so, "void semanage_set_reload(void *handle, int do_reload)"),                         // same header
    semanage_set_default_priority:     bind(so, "int semanage_set_default_priority(void *handle, uint16_t priority)"),            // same header
    semanage_access_check:             bind(so, "int semanage_access_check(void *handle)"),                                       // same header
    semanage_is_managed:               bind(so, "int semanage_is_managed(void *handle)"),                                         // same header
    semanage_connect:                  bind(so, "int semanage_connect(void *handle)"),                                            // same header
    semanage_begin_transaction:        bind(so, "int semanage_begin_transaction(void *handle)"),                                  // same header
    semanage_commit:                   bind(so, "int semanage_commit(void *handle)"),                                             // same header
    semanage_module_list_all:          bind(so, "int semanage_module_list_all(void *handle, _Out_ void **modinfos, _Out_ int *modinfos_len)"), // <semanage/modules.h>
    semanage_module_list_nth:          bind(so, "void *semanage_module_list_nth(void *list, int n)"),                             // same header
    semanage_module_info_get_name:     bind(so, "int semanage_module_info_get_name(void *handle, void *modinfo, _Out_ const char **name)"), // same header
    semanage_module_info_get_priority: bind(so, "int semanage_module_info_get_priority(void *handle, void *modinfo, _Out_ uint16_t *priority)"), // same header
    semanage_module_info_get_enabled:  bind(so, "int semanage_module_info_get_enabled(void *handle, void *modinfo, _Out_ int *enabled)"), // same header
    semanage_module_key_create:        bind(so, "int semanage_module_key_create(void *handle, _Out_ void **modkey)"),             // same header
    semanage_module_key_set_name:      bind(so, "int semanage_module_key_set_name(void *handle, void *modkey, const char *name)"), // same header
    semanage_module_key_set_priority:  bind(so, "int semanage_module_key_set_priority(void *handle, void *modkey, uint16_t priority)"), // same header
    semanage_module_extract:           bind(so, "int semanage_module_extract(void *handle, void *modkey, int extract_cil, _Out_ void **mapped_data, _Out_ size_t *data_len, _Out_ void **modinfo)"), // same header
    semanage_module_install:           bind(so, "int semanage_module_install(void *handle, const char *module_data, size_t data_len, const char *name, const char *ext_lang)"), // same header
    semanage_module_remove_key:        bind(so, "int semanage_module_remove_key(void *handle, void *modkey)"),                    // same header
    semanage_module_set_enabled:       bind(so, "int semanage_module_set_enabled(void *handle, void *modkey, int enabled)"),      // same header
    semanage_fcontext_list_local:      bind(so, "int semanage_fcontext_list_local(void *handle, _Out_ void **records, _Out_ unsigned int *count)"), // <semanage/fcontexts_local.h>
    semanage_fcontext_get_expr:        bind(so, "const char *semanage_fcontext_get_expr(void *fcontext)"),                        // <semanage/fcontext_record.h>
    semanage_fcontext_get_con:         bind(so, "void *semanage_fcontext_get_con(void *fcontext)"),                               // same header
    semanage_context_get_type:         bind(so, "const char *semanage_context_get_type(void *con)"),                              // <semanage/context_record.h>
  };
  return loaded;
}

/** The pointers of an array that the library made. */
export function pointersAt(array: Opaque, count: number): Opaque[] {
  return count === 0 ? [] : koffi.decode(array, koffi.array("void *", count)) as Opaque[];
}

/** Bytes that the library mapped, as text. */
export function textAt(data: Opaque, length: number): string {
  return length === 0 ? "" : new TextDecoder().decode(koffi.view(data, length));
}
