import { readFileSync } from "node:fs";
import { NoSelinuxError } from "../label/ready.ts";
import { kernel } from "../label/selinux.ts";
import type { PolicyEngine } from "../policy/engine.ts";
import { GUESTS, guestTypes } from "../policy/guest_types.ts";
import { crossGuestAccesses, kindOf } from "../policy/matrix/judge.ts";
import { parseList, problemOf } from "../policy/matrix/list_file.ts";
import { makeMatrix } from "../policy/matrix/matrix.ts";
import { partiesOnHost } from "../policy/matrix/on_host.ts";
import type { Parties, Party } from "../policy/matrix/party.ts";
import { type Arguments, EXIT, type OptionValue, UsageError } from "./command.ts";
import { booleansOf, openPolicy } from "./open_policy.ts";
import { describeMatrix, matrixDocument, type MatrixView } from "./policy_matrix_view.ts";
import { progress } from "./progress.ts";
import type { Terminal } from "./terminal.ts";

const PERMISSIONS = "open,read,write";

/** Finds every image that a guest can get at and should not. */
export function run({ options }: Arguments, terminal: Terminal): Promise<number> {
  const listed = listedParties(options);
  using engine = openPolicy(options["policy"]);
  const booleans = booleansOf(options["boolean"], engine);
  const permissions = permissionsOf(options["permissions"]);
  const parties = listed ?? runningParties(engine);
  const tell = progress(terminal);
  const matrix = makeMatrix(parties, permissions, engine, booleans, (done, of) => {
    tell(done, of, "guests compared with all images");
  });
  const view: MatrixView = {
    ...parties,
    matrix,
    engine,
    booleans,
    permissions,
    all: options["all"] === true,
  };
  if (options["json"] === true) terminal.out(JSON.stringify(matrixDocument(view), null, 2));
  else for (const line of describeMatrix(view)) terminal.out(line);
  if (crossGuestAccesses(matrix) > 0 || matrix.shared.length > 0) {
    return Promise.resolve(EXIT.finding);
  }
  const unknown = matrix.unknown.length > 0 ||
    matrix.groups.some((group) => kindOf(group) === "unknown");
  return Promise.resolve(unknown ? EXIT.unknown : EXIT.asExpected);
}

/** `undefined` when none were named. */
function listedParties(options: Arguments["options"]): Parties | undefined {
  const guests = contextsOf("guest", options["guest"]);
  const images = contextsOf("image", options["image"]).map((it) => ({ ...it, tclass: "file" }));
  const file = options["contexts"];
  if (typeof file !== "string" && guests.length + images.length === 0) return undefined;
  const more = typeof file === "string" ? readList(file) : { guests: [], images: [] };
  const all = { guests: [...guests, ...more.guests], images: [...images, ...more.images] };
  for (const kind of ["guest", "image"] as const) {
    if (all[`${kind}s`].length > 0) continue;
    throw new UsageError(`No ${kind} is named`, `--${kind} CONTEXT, or --contexts FILE`);
  }
  return all;
}

function contextsOf(option: string, given: OptionValue): Party[] {
  return (Array.isArray(given) ? given : []).map((value) => {
    const context = String(value);
    const problem = problemOf(context);
    if (problem === undefined) return { context };
    throw new UsageError(`--${option}: ${problem}`, "system_u:system_r:svirt_t:s0:c1,c2");
  });
}

function readList(file: string): Parties {
  let text;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    throw new UsageError(`--contexts: ${(error as Error).message}`, "Name a file that is there");
  }
  return parseList(file, text);
}

function permissionsOf(given: OptionValue): string[] {
  const names = String(given ?? PERMISSIONS).split(",").map((name) => name.trim());
  const wrong = names.find((name) => !/^\w+$/.test(name));
  if (wrong === undefined) return [...new Set(names)];
  throw new UsageError(`--permissions: "${wrong}" is no name of a permission`, PERMISSIONS);
}

function runningParties({ db, origin }: PolicyEngine): Parties {
  if (kernel.mode() === "disabled") {
    throw new NoSelinuxError(
      "SELinux is disabled on this host: its processes have no contexts",
      "Name guests and images: --guest CONTEXT --image CONTEXT, or --contexts FILE",
    );
  }
  const domains = guestTypes(db);
  if (domains.length === 0) {
    throw new UsageError(
      `${origin} has no attribute "${GUESTS}", so nobody can tell which processes are guests`,
      "Name them: --guest CONTEXT --image CONTEXT, or --contexts FILE",
    );
  }
  return partiesOnHost(domains);
}
