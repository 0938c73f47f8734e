import { readAgent } from "../config/agent_file.ts";
import type { Format } from "../guest.ts";
import { adoptText, readChain } from "../image/chain.ts";
import { Folder } from "../image/folder.ts";
import { type Arguments, EXIT, type OptionValue, UsageError } from "./command.ts";
import { table, type Terminal } from "./terminal.ts";

/** Shows what the headers say, for an administrator to pin; nothing is taken from it by itself. */
export function run({ options, operands }: Arguments, terminal: Terminal): Promise<number> {
  const format = formatOf("format", options["format"]);
  if (format === undefined) {
    throw new UsageError(
      "The format is missing: it is never probed, because a guest can write what a probe reads",
      "Give it: --format qcow2 or --format raw",
    );
  }
  const backingFormat = formatOf("backing-format", options["backing-format"]);
  const { folders } = readAgent(options["config"] as string | undefined);
  const opened = folders.map((path) => Folder.open(path));
  try {
    const report = readChain(opened, operands[0]!, format, { backingFormat });
    if (options["json"] === true) terminal.out(JSON.stringify(report, null, 2));
    else if (options["adopt"] === true) terminal.out(adoptText(report).trimEnd());
    else {
      const rows = report.chain.map(({ path, format, virtualSize, dataFile }) => [
        path,
        format ?? "?",
        virtualSize === null ? "?" : String(virtualSize),
        dataFile === null ? "" : `data file ${dataFile}`,
      ]);
      for (const row of table([["PATH", "FORMAT", "BYTES", ""], ...rows])) terminal.out(row);
    }
    for (const problem of report.problems) terminal.err(`svirt-agent: ${problem}`);
    return Promise.resolve(report.problems.length === 0 ? EXIT.asExpected : EXIT.finding);
  } finally {
    for (const folder of opened) folder[Symbol.dispose]();
  }
}

function formatOf(option: string, value: OptionValue): Format | undefined {
  if (value === undefined || value === "qcow2" || value === "raw") return value;
  throw new UsageError(`--${option} "${value}" is not known`, "One of: qcow2, raw");
}
