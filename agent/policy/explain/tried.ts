import { harmless } from "../../io/json.ts";
import type { Grants } from "./grants.ts";
import { commandsOf, distinct, filesOf, type Group, shownLevel, spanOf, typeOf } from "./group.ts";

/** What a permission lets one do, as the verb before an object; of others the permission is named. */
const VERBS: Readonly<Record<string, string>> = {
  append: "append to",
  connectto: "connect to",
  create: "create",
  execute: "execute",
  getattr: "stat",
  link: "link to",
  lock: "lock",
  map: "map",
  open: "open",
  ptrace: "trace",
  read: "read",
  relabelfrom: "relabel",
  relabelto: "give its label to",
  remove_name: "remove a name from",
  add_name: "add a name to",
  rename: "rename",
  search: "look into",
  sendto: "send to",
  setattr: "change owner, mode or size of",
  sigkill: "kill",
  signal: "signal",
  sigstop: "stop",
  unlink: "delete",
  use: "use",
  write: "write",
};

const NOUNS: Readonly<Record<string, string>> = {
  anon_inode: "an anonymous inode",
  blk_file: "block device",
  chr_file: "device",
  dir: "folder",
  fd: "a descriptor that was opened by",
  fifo_file: "pipe",
  file: "file",
  lnk_file: "link",
  process: "a process of",
  sock_file: "socket",
  unix_dgram_socket: "a socket of",
  unix_stream_socket: "a socket of",
};

/** How many names of a kind a line has; the others are counted. */
const MOST_NAMES = 3;

/** The first line: who tried what, on which files, how often and when. */
export function tried(
  group: Group,
  isGuest: (type: string) => boolean,
  grants: Grants | undefined,
): string {
  const count = group.denials.length;
  const times = count === 1 ? "once" : `${count} times`;
  return `${who(group, isGuest, grants)} tried to ${what(group)}: ${times}${when(group)}`;
}

/** To the second; the day once, if it is one. */
function when(group: Group): string {
  const { first, last } = spanOf(group);
  if (first === undefined || last === undefined) return "";
  const [from, to] = [short(first), short(last)];
  if (from === to) return `, ${from}`;
  const day = from.slice(0, 11);
  return `, ${from} to ${to.startsWith(day) ? to.slice(day.length) : to}`;
}

function short(time: string): string {
  const [, day, clock] = /^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)\.\d+Z$/.exec(time) ?? [];
  return day === undefined ? harmless(time) : `${day} ${clock}Z`;
}

function who(
  group: Group,
  isGuest: (type: string) => boolean,
  grants: Grants | undefined,
): string {
  const { source, denials } = group;
  const type = typeOf(source);
  const programs = distinct(denials, ({ comm, exe }) => comm ?? exe).map(harmless);
  const label = labelled(type, distinct(denials, ({ scontext }) => scontext));
  const by = programs.length === 0 ? label : `${label}; ${few(programs)}`;
  if (!isGuest(type)) return by;
  const names = distinct(denials, ({ scontext, guest }) => grants?.guestAt(scontext) ?? guest);
  if (names.length === 0) return `a guest (${by})`;
  return `${names.length === 1 ? "guest" : "guests"} ${few(names.map(harmless))} (${by})`;
}

function what(group: Group): string {
  const { denied, tclass, target, denials } = group;
  const commands = commandsOf(group);
  const ioctl = commands.length === 0 ? "send ioctls to" : `send ioctl ${few(commands)} to`;
  const verbs = denied.map((permission) =>
    permission === "ioctl"
      ? ioctl
      : Object.hasOwn(VERBS, permission)
      ? VERBS[permission]!
      : `do "${harmless(permission)}" to`
  );
  const noun = Object.hasOwn(NOUNS, tclass) ? NOUNS[tclass]! : harmless(tclass);
  const label = labelled(typeOf(target), distinct(denials, ({ tcontext }) => tcontext));
  const files = filesOf(group).map((file) => JSON.stringify(harmless(file)));
  return files.length === 0
    ? `${verbs.join(" and ")} ${noun} ${label}`
    : `${verbs.join(" and ")} ${noun} ${few(files)} (${label})`;
}

/** `svirt_t c1,c2 or c3,c4` */
function labelled(type: string, contexts: readonly string[]): string {
  const levels = [...new Set(contexts.map(shownLevel))].filter((it) => it !== "");
  return levels.length === 0 ? type : `${type} ${few(levels, " or ")}`;
}

/** `a, b, c and 4 more` */
function few(names: readonly string[], between = ", "): string {
  if (names.length <= MOST_NAMES) return names.join(between);
  return `${names.slice(0, MOST_NAMES).join(between)} and ${names.length - MOST_NAMES} more`;
}
