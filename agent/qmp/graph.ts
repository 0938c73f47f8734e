import type { Guest } from "../guest.ts";
import { isCdDrive, isCold } from "../image/device.ts";
import type { Layer } from "../image/layer.ts";
import { busOf } from "./port.ts";
import type { Monitor } from "./monitor.ts";

/** One blockdev-add or device_add, as it goes over the wire. */
export interface QmpCommand {
  readonly execute: string;
  readonly arguments: Readonly<Record<string, unknown>>;
}

/**
 * Adds one image to a running QEMU: its nodes and its device. Nothing for one that has been there
 * since the start, see {@link ./cold.ts}; no device for a transient one, whose overlay gets it.
 *
 * @param layers Of one image: the image and its backing chain, top first.
 */
export function imageGraph(layers: readonly Layer[], guest: Guest): QmpCommand[] {
  const { image } = layers[0]!;
  if (isCold(image)) return [];
  return [...blockNodes(layers), ...image.transient ? [] : [device(layers[0]!, guest)]];
}

/**
 * The block nodes of one image, bottom first: every format is given, every file is an fdset. QAPI
 * `BlockdevOptions`.
 */
export function blockNodes(layers: readonly Layer[]): QmpCommand[] {
  const below = (i: number) => layers[i + 1]?.node ?? null;
  const pairs = layers.map((layer, i) => [fileNode(layer), formatNode(layer, below(i))]);
  return pairs.reverse().flat();
}

/** The file behind a layer. QAPI `BlockdevOptionsFile`. */
export function fileNode({ fdset, node, access, image, privateNode }: Layer): QmpCommand {
  return {
    execute: "blockdev-add",
    arguments: {
      driver: privateNode === undefined ? "file" : "host_device",
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

/** The device on top of a node. */
export function device({ image, node, access }: Layer, guest: Guest): QmpCommand {
  const bus = busOf(image, guest);
  const writes = access === "rw" && !isCdDrive(image);
  return {
    execute: "device_add",
    arguments: {
      driver: image.device,
      id: `${image.name}-device`,
      drive: node,
      ...(bus !== null && { bus }),
      ...(writes && image.cache === "writethrough" && { "write-cache": "off" }),
      ...(writes && image.cache !== "writethrough" && image.device.startsWith("virtio") && {
        "write-cache": "on",
      }),
    },
  };
}

/** Runs the commands one after the other. */
export async function runAll(monitor: Monitor, commands: readonly QmpCommand[]): Promise<void> {
  for (const { execute, arguments: args } of commands) await monitor.execute(execute, args);
}
