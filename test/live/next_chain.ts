import { readFileSync, writeFileSync } from "node:fs";
import type { GuestFile } from "./world.ts";

/**
 * Puts the chain that snapshots left into the guest's file, as an administrator would.
 *
 * @param overlays Of each image, the newest first.
 */
export function putOnTop(
  { file, root, data, base }: GuestFile,
  overlays: { readonly root: readonly string[]; readonly data: readonly string[] },
): void {
  const layer = (it: object) =>
    `{ ${
      Object.entries(it).map(([key, value]) => `${key} = ${JSON.stringify(value)}`).join(", ")
    } }`;
  const backing = (overlays: readonly string[], ...below: object[]) =>
    [...overlays.slice(1).map((path) => ({ path, format: "qcow2" })), ...below]
      .map(layer).join(", ");
  const ofRoot = backing(
    overlays.root,
    { path: root, format: "qcow2" },
    { path: base, format: "raw", shared: true },
  );
  const ofData = backing(overlays.data, { path: data, format: "raw" });
  const text = readFileSync(file, "utf8")
    .replace(`path = "${root}"`, `path = "${overlays.root[0]}"`)
    .replace(/backing = .*/, `backing = [${ofRoot}]`)
    .replace(`path = "${data}"`, `path = "${overlays.data[0]}"`)
    .replace('format = "raw"\n', `format = "qcow2"\nbacking = [${ofData}]\n`);
  writeFileSync(file, text);
}
