import type { Guest } from "../guest.ts";
import type { Host } from "../host.ts";
import { isFenceable } from "../image/fence.ts";
import type { Inspected } from "../image/inspect.ts";
import { shellWord } from "../image/image_error.ts";
import { chainsOf, layerName } from "../image/layer.ts";
import { labelFor } from "../label/assign.ts";
import { formatContext } from "../label/context.ts";
import { type DeviceLayer, isDevice } from "../image/private_node.ts";
import type { Identity } from "../owned_fd.ts";
import { coldArguments } from "../qmp/cold.ts";
import { imageGraph } from "../qmp/graph.ts";
import { portArguments } from "../qmp/port.ts";

/** What `run` would do, in commands that people know. */
export function planOf(guest: Guest, found: readonly Inspected[], { settings }: Host): string[] {
  const { low, high } = settings.categories;
  const layers = found.map(({ layer }) => layer);
  return [
    `# level: s0:cX,cY with two free categories of c${low}.c${high}`,
    ...found.flatMap(({ layer, storage, identity, label }) => [
      `# ${layerName(layer)}: ${layer.path} (${identity}, ${storage.fsType}, ${layer.access})`,
      ...storage.findings.map((text) => `# ${text}`),
      ...isDevice(layer) ? [nodePlan(layer, identity)] : storage.keepsLabels
        ? [
          `chcon ${formatContext(labelFor(layer, "s0:cX,cY"))} ${layer.path}` +
          `   # was ${label === undefined ? "unlabelled" : formatContext(label)}`,
        ]
        : [
          `# keeps its label; closed to guests while ${storage.boolean} is off`,
          ...isFenceable(storage) && layer.access === "rw" &&
              (guest.fence ?? settings.fence) === "owner"
            ? [`# once frozen: chown root:GROUP-OF-${guest.qemu.user} ${layer.path}; chmod 0640`]
            : [],
        ],
      ...layer.image.transient && layer.depth === 0
        ? [`# what the guest writes goes into an overlay beside it, removed when it stops`]
        : [],
    ]),
    `runuser -u ${guest.qemu.user} -- ${guest.qemu.binary} -name ${guest.name} ` +
    `-accel ${guest.qemu.accelerator} -S ${
      [...guest.qemu.args, ...coldArguments(guest, layers), ...portArguments(guest)].map(shellWord)
        .join(
          " ",
        )
    }`,
    ...chainsOf(guest, layers).flatMap((chain) => imageGraph(chain, guest)).map((command) =>
      JSON.stringify(command)
    ),
  ];
}

function nodePlan(layer: DeviceLayer, identity: Identity): string {
  const label = formatContext(labelFor(layer, "s0:cX,cY"));
  const number = identity.split(":").slice(1).join(" ");
  return `mknod --context=${label} ${layer.privateNode} b ${number}`;
}
