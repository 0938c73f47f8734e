import type { Guest, Image } from "../guest.ts";
import { isPci, isScsi } from "../image/device.ts";

/** Machines whose PCI Express root takes no device while they run; their root ports do. */
const PCI_EXPRESS = /(^|[-,=])(q35|virt)\b/;

/** Chassis numbers of a person's own root ports are small, as a rule. */
const FIRST_CHASSIS = 128;

/**
 * Eight ports share a slot of the root, which has 32. QEMU gives a person's own devices the first
 * that are free, and chipsets have theirs from 0x1d on: 13 slots are between, for `MOST_PCI` images.
 */
const FIRST_SLOT = 0x10;
const PORTS_IN_A_SLOT = 8;

const CONTROLLER = "svirt-agent-scsi";
/** Controllers in a person's own arguments, as `-device` takes them. */
const SCSI_CONTROLLER =
  /^(\{.*"driver"\s*:\s*")?(virtio-scsi|vhost-scsi|lsi|megasas|mptsas|pvscsi|am53c974|dc390|spapr-vscsi)/;

/** What the devices of images are plugged into, made when QEMU starts: root ports, a controller. */
export function portArguments(guest: Guest): string[] {
  const { images } = guest;
  const ports = images.flatMap((image) => portOf(image, guest) ?? []);
  return [
    ...ports.flatMap((id, i) => ["-device", rootPort(id, i)]),
    ...hasOurController(guest) ? ["-device", `virtio-scsi-pci,id=${CONTROLLER}`] : [],
  ];
}

/** Devices go in over the monitor: on a PCI Express machine each needs a root port of its own. */
function rootPort(id: string, i: number): string {
  const slot = FIRST_SLOT + Math.floor(i / PORTS_IN_A_SLOT), part = i % PORTS_IN_A_SLOT;
  const address = `0x${slot.toString(16)}.${part}`;
  const first = part === 0 ? ",multifunction=on" : "";
  return `pcie-root-port,id=${id},chassis=${FIRST_CHASSIS + i},addr=${address}${first}`;
}

/** The bus that an image's device goes into; `null` where QEMU finds one. */
export function busOf(image: Image, guest: Guest): string | null {
  return isScsi(image) && hasOurController(guest) ? `${CONTROLLER}.0` : portOf(image, guest);
}

/** Id of the root port that an image's device goes into; `null` where it needs none. */
export function portOf(image: Image, { qemu: { args } }: Guest): string | null {
  const machine = args.find((_, i) => ["-machine", "-M", "--machine"].includes(args[i - 1] ?? ""));
  const isExpress = machine !== undefined && PCI_EXPRESS.test(machine);
  return isExpress && isPci(image) ? `${image.name}-port` : null;
}

/** SCSI devices need a controller; the agent brings one where the guest file has none. */
function hasOurController({ images, qemu: { args } }: Guest): boolean {
  const own = args.some((value, i) =>
    ["-device", "--device"].includes(args[i - 1] ?? "") && SCSI_CONTROLLER.test(value)
  );
  return images.some(isScsi) && !own;
}
