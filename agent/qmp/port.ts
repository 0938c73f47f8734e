import type { Guest, Image } from "../guest.ts";

/** Machines whose PCI Express root takes no device while they run; their root ports do. */
const PCI_EXPRESS = /(^|[-,=])(q35|virt)\b/;

/** Chassis numbers of a person's own root ports are small, as a rule. */
const FIRST_CHASSIS = 128;

/** Devices go in over the monitor: on a PCI Express machine each needs a root port of its own. */
export function portArguments(guest: Guest): string[] {
  return guest.images.flatMap((image, i) => {
    const id = portOf(image, guest);
    return id === null ? [] : ["-device", `pcie-root-port,id=${id},chassis=${FIRST_CHASSIS + i}`];
  });
}

/** Id of the root port that an image's device goes into; `null` where it needs none. */
export function portOf({ name, device }: Image, { qemu: { args } }: Guest): string | null {
  const isPci = device.endsWith("-pci") || device === "nvme";
  const machine = args.find((_, i) => ["-machine", "-M", "--machine"].includes(args[i - 1] ?? ""));
  return isPci && machine !== undefined && PCI_EXPRESS.test(machine) ? `${name}-port` : null;
}
