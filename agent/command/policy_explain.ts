import { closeSync, existsSync, openSync, readSync } from "node:fs";
import { type AvcLog, AvcReader } from "../audit/avc_reader.ts";
import { lines } from "../audit/lines.ts";
import { type AuditRecord, MAX_LINE } from "../audit/record.ts";
import { bundledFiles } from "../policy/assertion/bundled.ts";
import { readAssertions } from "../policy/assertion/parse.ts";
import { document, type Expected } from "../policy/explain/document.ts";
import { compare, readExpectations } from "../policy/explain/expect.ts";
import { expectationsIn } from "../policy/explain/expect_toml.ts";
import { explain, type Explanation, guestsIn } from "../policy/explain/explain.ts";
import { type Grants, grantsOf } from "../policy/explain/grants.ts";
import { missingLine, plural, summary, threeLines } from "../policy/explain/report.ts";
import { asker } from "../policy/explain/said_no.ts";
import type { PolicyEngine } from "../policy/engine.ts";
import { type Arguments, EXIT, UsageError } from "./command.ts";
import { openPolicy } from "./open_policy.ts";
import { progress } from "./progress.ts";
import type { Terminal } from "./terminal.ts";
import { linesOf } from "./text_input.ts";

/** Where a host has its log unless agent.toml says otherwise. */
const HOST_LOG = "/var/log/svirt-agent/audit.jsonl";

/** Says of each denial what was tried, what said no, and what to do. */
export async function run({ operands, options }: Arguments, terminal: Terminal): Promise<number> {
  const expectFile = options["expect"] as string | undefined;
  const expectations = expectFile === undefined ? undefined : readExpectations(expectFile);
  const assertionFiles = (options["assertions"] ?? []) as readonly string[];
  const assertions = readAssertions([...bundledFiles(), ...assertionFiles]);
  const log = await readDenials(operands, terminal);
  using engine = policyToAsk(options["policy"], terminal);
  const known = {
    ...engine !== undefined && { db: engine.db },
    ...hostGrants(options),
    assertions,
  };
  const sources = { ...known, ...engine !== undefined && { ask: asker(engine, log.changes) } };
  if (options["print-expect"] === true) {
    // What said no does not stand in such a file: nobody has to be asked.
    for (const line of expectationsIn(explain(log.denials, known))) terminal.out(line);
    return EXIT.asExpected;
  }
  let expected: Expected | undefined;
  if (expectFile !== undefined && expectations !== undefined) {
    const differences = compare(log.denials, expectations, guestsIn(engine?.db));
    const unexpected = explain(differences.unexpected, sources);
    expected = { file: expectFile, unexpected, missing: differences.missing };
    if (options["json"] !== true) {
      for (const line of comparison(expected, log)) terminal.out(line);
      return statusOf(expected);
    }
  }
  const explanations = explain(log.denials, sources);
  if (options["json"] === true) {
    const whole = document(explanations, log, engine?.origin, expected);
    terminal.out(JSON.stringify(whole, null, 2));
  } else {
    for (const line of explanations.flatMap(threeLines)) terminal.out(line);
    terminal.out(summary(explanations, log));
  }
  if (expected !== undefined) return statusOf(expected);
  return engine !== undefined && explanations.some(isUnknown) ? EXIT.unknown : EXIT.asExpected;
}

function statusOf({ unexpected, missing }: Expected): number {
  return unexpected.length === 0 && missing.length === 0 ? EXIT.asExpected : EXIT.finding;
}

/** There was a policy to ask, and it does not know what it was asked about. */
function isUnknown({ refusal, advice }: Explanation): boolean {
  return refusal.answer === "unknown" && advice.meaning === "look";
}

/** `--expect`: what differs, and how many did not. */
function comparison({ file, unexpected, missing }: Expected, { denials }: AvcLog): string[] {
  const count = unexpected.reduce((sum, { group }) => sum + group.denials.length, 0);
  return [
    ...unexpected.flatMap((it) => [`unexpected: ${threeLines(it)[0]}`, ...threeLines(it).slice(1)]),
    ...missing.map((it) => missingLine(it, file)),
    `${plural(denials.length - count, "denial")} as ${file} expects, ${count} unexpected, ` +
    `${missing.length} missing`,
  ];
}

async function readDenials(operands: readonly string[], terminal: Terminal): Promise<AvcLog> {
  const reader = new AvcReader();
  const tell = progress(terminal);
  let read = 0;
  for (const operand of operands.length === 0 ? ["-"] : operands) {
    if (/avc:\s/.test(operand)) {
      for (const line of operand.split("\n")) reader.take(line);
    } else {
      for await (const line of linesOf(operand)) {
        reader.take(line);
        tell(++read, undefined, "lines read");
      }
    }
  }
  const log = reader.end();
  if (log.denials.length === 0 && operands.some((it) => /avc:\s/.test(it))) {
    throw new UsageError(
      "This is no whole denial",
      "Give all of it, in quotes: 'avc: denied { open } for ... scontext=... tcontext=... tclass=...'",
    );
  }
  return log;
}

/** Without a policy at hand the table of promises still answers. */
function policyToAsk(
  path: Arguments["options"][string],
  terminal: Terminal,
): PolicyEngine | undefined {
  try {
    return openPolicy(path);
  } catch (error) {
    if (path !== undefined) throw error;
    terminal.err(`svirt-agent: no policy is asked: ${(error as Error).message}`);
    return undefined;
  }
}

/** What the agent's log says: the one that was named, else this host's where its policy is asked. */
function hostGrants({ log, policy }: Arguments["options"]): { readonly grants?: Grants } {
  const isNamed = typeof log === "string";
  if (!isNamed && policy !== undefined) return {};
  const path = isNamed ? log : HOST_LOG;
  if (!existsSync(path)) {
    if (!isNamed) return {};
    throw new UsageError(`There is no log ${path}`, "A host has it in /var/log/svirt-agent");
  }
  try {
    return { grants: grantsOf(records(path)) };
  } catch (error) {
    // Root may read it, somebody else may explain all the same.
    if (!isNamed && (error as { code?: string }).code === "EACCES") return {};
    throw error;
  }
}

function* records(path: string): Generator<AuditRecord> {
  const fd = openSync(path, "r");
  try {
    const read = (buffer: Uint8Array, at: number) => readSync(fd, buffer, 0, buffer.length, at);
    for (const { bytes, complete } of lines(read, MAX_LINE)) {
      if (!complete) continue;
      try {
        yield JSON.parse(new TextDecoder().decode(bytes));
      } catch (error) {
        if (!(error instanceof SyntaxError)) throw error;
      }
    }
  } finally {
    closeSync(fd);
  }
}
