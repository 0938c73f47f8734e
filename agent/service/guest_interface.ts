import type { AttachedGuest } from "../attached_guest.ts";
import type { Host } from "../host.ts";
import { snapshot } from "../operation/snapshot.ts";
import type { Turns } from "../operation/turns.ts";
import { CanaryCache } from "../verify/canary_cache.ts";
import { verifyGuest } from "../verify/guest.ts";
import { throughGuest } from "../verify/through_guest.ts";
import type { Interface, Parameters } from "./varlink.ts";

/** Name of the interface of a guest's control socket. */
export const GUEST_INTERFACE = "io.svirtagent.Guest";

const DESCRIPTION = `# One guest of svirt-agent, on /run/svirt-agent/guests/NAME/control
interface ${GUEST_INTERFACE}

# Freezes images and puts overlays on top, all or none; no names means all that can be written.
# Overlays lie beside their images, or in the folder overlayIn.
method SnapshotCreate(images: []string, overlayIn: ?string) -> (images: []object)

# Asks the witnesses; throughGuest lets the guest's own QEMU try, others are paths to try as well.
# canary starts a QEMU without a machine in the guest's context, which tries with files of its own.
# Without it the verdict has what the last canary showed, for as long as that holds.
method Verify(throughGuest: ?bool, others: ?[]string, canary: ?bool)
  -> (verdict: object, attempts: ?[]object)

# Stops the guest, takes everything away from it, and answers when that is done.
method Stop() -> ()

# What went wrong, with what to do about it.
error Failed(name: string, message: string, hint: ?string, code: ?string)
`;

/** What can be asked of the agent that guards this guest. */
export function guestInterface(
  attached: AttachedGuest,
  host: Host,
  stop: () => Promise<void>,
  turns: Turns,
): Interface {
  const canaries = new CanaryCache();
  return {
    name: GUEST_INTERFACE,
    description: DESCRIPTION,
    methods: {
      SnapshotCreate: ({ images, overlayIn }) =>
        turns.take(async () => {
          const options = { overlayIn: optionalString(overlayIn) };
          return { images: await snapshot(attached, strings(images), host, options) };
        }),
      Verify: ({ throughGuest: through, others, canary }) =>
        turns.take(async (): Promise<Parameters> => {
          const shown = canary === true
            ? await canaries.renew(attached, host)
            : canaries.get(attached, host);
          const verdict = verifyGuest(attached, host, shown);
          if (through !== true) return { verdict };
          return { verdict, attempts: await throughGuest(attached, strings(others), host) };
        }),
      Stop: async () => {
        await stop();
        return {};
      },
    },
    failure(error) {
      const { name, message, hint, code } = error as Error & { hint?: string; code?: string };
      return {
        error: `${GUEST_INTERFACE}.Failed`,
        parameters: {
          name,
          message,
          ...(hint !== undefined && { hint }),
          ...(code !== undefined && { code }),
        },
      };
    },
  };
}

function strings(value: unknown): string[] {
  if (value === undefined) return [];
  if (Array.isArray(value) && value.every((it) => typeof it === "string")) return value;
  throw new TypeError("images and others are lists of strings");
}

function optionalString(value: unknown): string | undefined {
  if (value === undefined || value === null || typeof value === "string") return value ?? undefined;
  throw new TypeError("overlayIn is a string");
}
