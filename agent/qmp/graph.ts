import type { Guest } from "../guest.ts";
import type { Layer } from "../image/layer.ts";
import { portOf } from "./port.ts";
import type { Monitor } from "./monitor.ts";

/** One blockdev-add or device_add, as it goes over the wire. */
export interface QmpCommand {
  readonly execute: string;
  readonly arguments: Readonly<Record<string, unknown>>;
}

/**
 * The block graph of one image, bottom first: every format is given, every file is an fdset.
 *
 * @param layers Of one image: the image and its backing chain, top first. QAPI `BlockdevOptions`.
 */
export function imageGraph(layers: readonly Layer[], guest: Guest): QmpCommand[] {
  const below = (i: number) => layers[i + 1]?.node ?? null;
  const pairs = layers.map((layer, i) => [fileNode(layer), formatNode(layer, below(i))]);
  return [...pairs.reverse().flat(), device(layers[0]!, portOf(layers[0]!.image, guest))];
}

/** The file behind a layer. QAPI `BlockdevOptionsFile`. */
export function fileNode({ fdset, node, access, image }: Layer): QmpCommand {
  return {
    execute: "blockdev-add",
    arguments: {
      driver: "file",
      "node-name": `${node}.file`,
      filename: `/dev/fdset/${fdset}`,
      "read-only": access === "ro",
      // The agent holds the locks: QEMU's own would conflict between the descriptors of one set.
      locking: "off",
      cache: { direct: image.cache === "none", "no-flush": false },
    },
  };
}

/** The format above a file; its backing node is named, never looked up in the header. */
export function formatNode(
  { node, format, access, image }: Layer,
  backing: string | null,
): QmpCommand {
  return {
    execute: "blockdev-add",
    arguments: {
      driver: format,
      "node-name": node,
      file: `${node}.file`,
      "read-only": access === "ro",
      cache: { direct: image.cache === "none", "no-flush": false },
      // null, too, is an answer: a header that names a backing file must not make QEMU open it.
      ...(format === "qcow2" && { backing }),
    },
  };
}

function device({ image, node, access }: Layer, bus: string | null): QmpCommand {
  return {
    execute: "device_add",
    arguments: {
      driver: image.device,
      id: `${image.name}-device`,
      drive: node,
      ...(bus !== null && { bus }),
      ...(image.device.startsWith("virtio") && access === "rw" && {
        "write-cache": image.cache === "writethrough" ? "off" : "on",
      }),
    },
  };
}
/** Runs the commands one after the other. */
export async function runAll(monitor: Monitor, commands: readonly QmpCommand[]): Promise<void> {
  for (const { execute, arguments: args } of commands) await monitor.execute(execute, args);
}
