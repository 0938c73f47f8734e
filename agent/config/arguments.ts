import { closest } from "./closest.ts";
import { FILE_KEYS, FLAGS, REFUSED, VALUED } from "./file_options.ts";
import type { Place } from "./schema.ts";

/**
 * Checks that a command line of QEMU names no file: everything that a guest opens is granted.
 *
 * An option that is not in the tables is refused, since nobody can say what it opens. What slips
 * through all the same is found after start: a file that QEMU holds and nobody granted.
 *
 * @param place Of the array.
 * @throws `ConfigError` that names the argument, the option, and what to do instead.
 */
export function checkArguments(args: readonly string[], place: Place): void {
  for (let i = 0; i < args.length; i++) {
    const at = place.index(i);
    const option = /^--?(?=[^-])(.+)$/.exec(args[i]!)?.[1];
    if (option === undefined) {
      throw at.error(
        `${JSON.stringify(args[i])}: QEMU takes a bare word as a disk (describe it as [[image]])`,
      );
    }
    const refused = own(REFUSED, option);
    if (refused !== undefined) throw at.error(`-${option} is not allowed (${refused})`);
    if (FLAGS.has(option)) continue;
    if (!VALUED.has(option)) {
      const meant = closest(option, [...VALUED, ...FLAGS]);
      const advice = meant === undefined
        ? "the agent cannot say what it opens"
        : `did you mean -${meant}?`;
      throw at.error(`-${option} is not known (${advice})`);
    }
    const value = args[++i];
    if (value === undefined) throw at.error(`-${option} has no value`);
    const problem = valueProblem(option, value);
    if (problem !== undefined) throw place.index(i).error(`-${option} ${problem}`);
  }
}

/** Character devices that are no file: nothing, the agent's own terminal, or another option's. */
const HARMLESS_SERIAL = /^(none|null|stdio|vc(:[\dxCHW]+)?|pty|msmouse|(chardev|ringbuf):[\w.-]+)$/;

/** Values with a syntax of their own; the rest is `key=value,...` or JSON. */
const SPECIAL: Readonly<{ [option: string]: (value: string) => string | undefined }> = {
  serial: serialProblem,
  parallel: serialProblem,
  debugcon: serialProblem,
  gdb: (value) =>
    /^(none|tcp::\d+|tcp:(127\.0\.0\.1|localhost):\d+)(,.*)?$/.test(value)
      ? undefined
      : serialProblem(value),
  k: (value) => /^[\w-]+$/.test(value) ? undefined : "names a file (say a language: en-us)",
  vnc: (value) =>
    /^unix:/.test(value) ? "names a socket (say host:display)" : keyValueProblem(value),
};

function valueProblem(option: string, value: string): string | undefined {
  const special = own(SPECIAL, option);
  if (special !== undefined) return special(value);
  return value.trimStart().startsWith("{") ? jsonProblem(value) : keyValueProblem(value);
}

function serialProblem(value: string): string | undefined {
  if (HARMLESS_SERIAL.test(value)) return undefined;
  return `${JSON.stringify(value)} is not allowed (say "none", "null" or "stdio")`;
}

function keyValueProblem(value: string): string | undefined {
  // In QEMU's syntax ",," is a comma inside a value.
  for (const part of value.replaceAll(",,", "\u0000").split(",")) {
    const [, key, text] = /^(?:([^=]*)=)?(.*)$/s.exec(part) as unknown as [
      string,
      string?,
      string?,
    ];
    const problem = memberProblem(key ?? "", text ?? "");
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function jsonProblem(value: string): string | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(value);
  } catch {
    return "is neither JSON nor key=value (QEMU would refuse it)";
  }
  return nestedProblem("", parsed);
}

function nestedProblem(key: string, value: unknown): string | undefined {
  if (typeof value === "string") return memberProblem(key, value);
  if (typeof value !== "object" || value === null) return undefined;
  for (const [inner, member] of Object.entries(value)) {
    const problem = nestedProblem(inner, member);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function memberProblem(key: string, value: string): string | undefined {
  // -global may put the device before the property: "virtio-net-pci.romfile".
  const refused = own(FILE_KEYS, key) ?? own(FILE_KEYS, key.slice(key.lastIndexOf(".") + 1));
  // No script, no ROM: what keeps QEMU from taking its default.
  if (refused !== undefined && value !== "no" && value !== "") {
    return `${key}= is not allowed (${refused})`;
  }
  if (key === "property" && own(FILE_KEYS, value) !== undefined) {
    return `property=${value} is not allowed (${FILE_KEYS[value]})`;
  }
  if (/^(\/|\.{1,2}\/|(file|unix|pipe|fd|exec|host_device|tftp):)/.test(value)) {
    return `${JSON.stringify(value)} names a file (it is one that nobody granted)`;
  }
  return undefined;
}

function own<T>(table: { readonly [key: string]: T }, key: string): T | undefined {
  return Object.hasOwn(table, key) ? table[key] : undefined;
}
