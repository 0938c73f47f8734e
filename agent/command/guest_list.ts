import { cgroupOf, membersOf } from "../process/cgroup.ts";
import { startTimeOf } from "../process/contexts.ts";
import { type Arguments, EXIT } from "./command.ts";
import { openHost } from "./open_host.ts";
import { table, type Terminal } from "./terminal.ts";

/** Guests that have something, by the log, and whether their processes are there. */
export function run(args: Arguments, terminal: Terminal): Promise<number> {
  using host = openHost(args, terminal, { announce: false });
  const { levels, grants, intents } = host.log.state;
  const names = new Set([...levels.keys(), ...grants.keys()]);
  const guests = [...names].sort().map((name) => {
    const open = [...intents.values()].find((intent) => intent.guest === name);
    const alive = open !== undefined && startTimeOf(open.agent.pid) === open.agent.startTime;
    return {
      name,
      level: levels.get(name) ?? null,
      pids: membersOf(cgroupOf(name)),
      images: [...new Set((grants.get(name) ?? []).map(({ path }) => path))],
      unfinished: open !== undefined && !alive ? open.operation : null,
    };
  });
  if (args.options["json"] === true) {
    terminal.out(JSON.stringify({ schemaVersion: 1, guests }, null, 2));
  } else {
    const rows = guests.map(({ name, level, pids, images, unfinished }) => [
      name,
      level ?? "-",
      pids.join(",") || "-",
      unfinished === null ? "" : `unfinished ${unfinished}`,
      images.join(" "),
    ]);
    for (const line of table([["GUEST", "LEVEL", "PID", "", "IMAGES"], ...rows])) {
      terminal.out(line);
    }
  }
  return Promise.resolve(
    guests.some((it) => it.unfinished !== null) ? EXIT.finding : EXIT.asExpected,
  );
}
