import type { Backing, Fence, Format, Guest, Image, QemuSettings } from "../guest.ts";
import { checkArguments } from "./arguments.ts";
import { checkDevice, checkDevices } from "./device.ts";
import { labels, monitor } from "./not_yet.ts";
import { filePath, plain } from "./path.ts";
import {
  boolean,
  list,
  oneOf,
  optional,
  Place,
  type Reader,
  required,
  string,
  table,
} from "./schema.ts";
import { readToml } from "./toml.ts";

const FORMATS = ["qcow2", "raw"] as const satisfies readonly Format[];

const name = string((text) =>
  /^[a-z0-9][a-z0-9._-]{0,62}$/.test(text)
    ? undefined
    : 'is no name of a guest (lower-case letters, digits, ".", "_", "-"; at most 63)'
);

// Node names of QEMU end at 31 characters, and ours add to the image's name.
const imageName = string((text) =>
  /^[A-Za-z][A-Za-z0-9_-]{0,19}$/.test(text)
    ? undefined
    : 'is no name of an image (a letter, then letters, digits, "-", "_"; at most 20)'
);

const binary = string((text) =>
  /^(\/.+|[^/]+)$/.test(text) ? undefined : "is neither absolute nor a name to look up in PATH"
);

const user = string((text) => {
  if (text === "root" || /^\+?0+$/.test(text)) return "is root (name an unprivileged user)";
  return /^[A-Za-z0-9_][A-Za-z0-9_.-]*\$?$/.test(text) ? undefined : "is no name of a user";
});

/** A model alone: `virtio-blk-pci,romfile=...` would bring a file with it. */
const device = string((text) =>
  /^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(text) ? undefined : "is no name of a device model"
);

const format = required(oneOf(...FORMATS), 'say "qcow2" or "raw"');

const args: Reader<readonly string[]> = (value, place) => {
  const read = list(string())(value, place);
  checkArguments(read, place);
  return read;
};

const qemu: Reader<QemuSettings> = (value, place) => {
  const { monitor: _, ...rest } = table({
    monitor,
    binary: required(binary, 'say "qemu-system-x86_64"'),
    args: optional(args, []),
    user: required(user, 'say "libvirt-qemu" or another unprivileged user'),
    accelerator: optional(oneOf("kvm", "tcg"), "kvm"),
  })(value, place);
  return rest;
};

const backing: Reader<Backing> = table({
  path: required(filePath),
  format,
  shared: optional(boolean, false),
});

const image: Reader<Image> = (value, place) => {
  const read = table({
    name: required(imageName),
    path: required(filePath),
    format,
    access: optional(oneOf("rw", "ro"), "rw"),
    cache: optional(oneOf("none", "writeback", "writethrough"), "none"),
    device: optional(device, "virtio-blk-pci"),
    shared: optional(boolean, false),
    transient: optional(boolean, false),
    backing: optional(list(backing), []),
  })(value, place);
  const chain = [read, ...read.backing];
  const raw = chain.findIndex(({ format }) => format === "raw");
  if (raw >= 0 && raw < chain.length - 1) {
    throw place.at("backing").index(raw).error(
      "stands below a raw file, which has no backing file",
    );
  }
  checkDevice(read, place);
  return read;
};

const guest: Reader<Omit<Guest, "file">> = (value, place) => {
  const { image: images, fence, labels: _, ...rest } = table({
    name: required(name),
    qemu: required(qemu, "describe it as [qemu]"),
    image: optional(list(image), []),
    fence: optional<Fence | undefined>(oneOf("off", "owner"), undefined),
    labels,
  })(value, place);
  requireDistinct(images, place.at("image"));
  checkDevices(images, place.at("image"));
  return { ...rest, images, ...(fence && { fence }) };
};

/** Two nodes on one file would each believe that nobody else writes it. */
function requireDistinct(images: readonly Image[], place: Place): void {
  const names = new Map<string, string>();
  const paths = new Map<string, string>();
  const claim = (taken: Map<string, string>, word: string, at: Place) => {
    const first = taken.get(word);
    if (first !== undefined) throw at.error(`${JSON.stringify(word)} is already ${first}`);
    taken.set(word, at.key!);
  };
  images.forEach((image, i) => {
    const at = place.index(i);
    claim(names, image.name, at.at("name"));
    claim(paths, plain(image.path), at.at("path"));
    image.backing.forEach(({ path }, j) => {
      claim(paths, plain(path), at.at("backing").index(j).at("path"));
    });
  });
}

/**
 * Reads the file of one guest, design section 11.
 *
 * @throws `ConfigError` that names file, table and key.
 */
export function readGuest(path: string): Guest {
  const hint = "Write one as the man page svirt-agent(8) shows.";
  return { ...guest(readToml(path, hint), new Place(path)), file: path };
}
