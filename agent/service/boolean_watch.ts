import type { AttachedGuest } from "../attached_guest.ts";
import type { Host } from "../host.ts";

const PERIOD_MS = 1_000;

/**
 * Looks once a second whether a boolean on which this guest's verdicts rest was switched on again:
 * from then on it can open every image on that storage, whatever the log says.
 *
 * @param opened Told the boolean's name, each time it goes from off to on.
 */
export function watchBooleans(
  { guest, images }: AttachedGuest,
  host: Host,
  opened: (name: string) => void,
): Disposable {
  const names = new Set(images.flatMap(({ storage }) => storage.boolean ?? []));
  const on = new Set<string>();
  const look = () => {
    for (const name of names) {
      const active = host.booleans.read(name)?.active === true;
      if (active && !on.has(name)) {
        // First what protects; a log that cannot be written must not keep it from happening.
        opened(name);
        record(name, guest.name, host);
      }
      if (active) on.add(name);
      else on.delete(name);
    }
  };
  const timer = setInterval(look, PERIOD_MS);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

function record(name: string, guest: string, { log, settings }: Host): void {
  try {
    log.append({
      event: "finding",
      id: "boolean-on",
      severity: "high",
      guest,
      text: `${name} was switched on while the guest runs: it can open images by path`,
      evidence: { boolean: name, active: true, onBooleanOn: settings.onBooleanOn },
      hint: `Who did it: ausearch -m MAC_CONFIG_CHANGE -ts recent. Off again: ` +
        `svirt-agent boolean set ${name} off`,
    }, { revocation: true });
  } catch {
    // Nobody is there to catch it in a timer; whoever was told has said so on the terminal.
  }
}
