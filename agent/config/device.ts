import type { Image } from "../guest.ts";
import { isCdDrive, isCold, isFlash, isPci, MOST_PCI } from "../image/device.ts";
import type { Place } from "./schema.ts";

/** QEMU's machines have no more flash chips. */
const MOST_FLASH = 2;

/**
 * Which device wants which access, and which keys contradict each other.
 *
 * @param place Of the image's table.
 * @throws `ConfigError` at the key that has to change.
 */
export function checkDevice(image: Omit<Image, "backing">, place: Place): void {
  const { access, device, shared, transient } = image;
  if (isCdDrive(image) && access !== "ro") {
    throw place.at("access").error(
      `"${device}" is a CD drive, which only reads (say access = "ro")`,
      "Guests that use the same file say shared = true as well, all of them.",
    );
  }
  if (device === "ide-hd" && access === "ro") {
    throw place.at("device").error(
      '"ide-hd" takes no image that is only read (say "virtio-blk-pci", "scsi-hd" or "ide-cd")',
    );
  }
  if (transient && access === "ro") {
    throw place.at("transient").error(
      "a guest that only reads has no writes to throw away (leave it out)",
    );
  }
  if (transient && isCold(image)) {
    throw place.at("transient").error(
      `"${device}" has to be there when QEMU starts, before it can make an overlay`,
      isFlash(image)
        ? "Copy the variables for the guest, and delete the copy afterwards."
        : 'Take "virtio-blk-pci" or "scsi-hd".',
    );
  }
  if (shared && access === "rw" && !transient) {
    throw place.at("shared").error(
      "what may be shared is never written",
      'Say access = "ro", or transient = true for writes that are thrown away; or leave it out.',
    );
  }
}

/** What only all images of a guest together can get wrong. */
export function checkDevices(images: readonly Image[], place: Place): void {
  const flash = images.filter(isFlash);
  if (flash.length > MOST_FLASH) {
    throw place.index(images.indexOf(flash[MOST_FLASH]!)).at("device").error(
      `a guest has at most ${MOST_FLASH} flash chips`,
      "The first is the firmware, the second its variables.",
    );
  }
  const pci = images.filter(isPci);
  if (pci.length > MOST_PCI) {
    throw place.index(images.indexOf(pci[MOST_PCI]!)).at("device").error(
      `a guest has at most ${MOST_PCI} images on PCI`,
      'Take "scsi-hd" for more: one controller serves them all.',
    );
  }
}
