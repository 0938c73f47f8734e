import type { Image } from "../guest.ts";

/** What device models want of an image, as far as the agent has to know; QEMU decides the rest. */
type Model = Pick<Image, "device">;

/** A flash chip: the first is the firmware, the second its variables. */
export function isFlash({ device }: Model): boolean {
  return device === "pflash";
}

/** Only reads, whatever image it has. */
export function isCdDrive({ device }: Model): boolean {
  return device === "ide-cd" || device === "scsi-cd";
}

/** On a PCI bus. */
export function isPci({ device }: Model): boolean {
  return device.endsWith("-pci") || device === "nvme";
}

/** Most images on PCI Express in one guest; see {@link ../qmp/port.ts}. */
export const MOST_PCI = 104;

/** On the bus of a SCSI controller. */
export function isScsi({ device }: Model): boolean {
  return /^scsi-(cd|hd|block|generic)$/.test(device);
}

/** QEMU makes it with the machine or never: neither flash nor an IDE bus takes one while it runs. */
export function isCold({ device }: Model): boolean {
  return device === "pflash" || device.startsWith("ide-");
}
