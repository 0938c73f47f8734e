import type { Terminal } from "./terminal.ts";
import { HintedError } from "../hinted_error.ts";

export { EXIT } from "./exit.ts";

/** One option of a command; `node:util` parseArgs reads them. */
export interface Option {
  readonly type: "boolean" | "string";
  readonly short?: string;
  /** May be given several times. */
  readonly multiple?: boolean;
  /** What stands for the value in help: `FILE`. */
  readonly value?: string;
  readonly help: string;
}

/** Value of an option; a list where it may be given several times. */
export type OptionValue = string | boolean | (string | boolean)[] | undefined;

/** What was typed behind the command's name. */
export interface Arguments {
  readonly options: Readonly<Record<string, OptionValue>>;
  readonly operands: readonly string[];
}

/** Runs a command; answers its exit status. */
export type Run = (args: Arguments, terminal: Terminal) => Promise<number>;

/** A subcommand: the table of them drives parsing and help. */
export interface Command {
  /** `snapshot create` */
  readonly name: string;
  /** `GUEST [IMAGE...]`; brackets are optional ones, dots mean any number. */
  readonly operands: string;
  readonly summary: string;
  readonly options: Readonly<Record<string, Option>>;
  /** Loaded when it is used, so that `--help` starts at once. */
  readonly load: () => Promise<{ run: Run }>;
}

/** What was typed is no command, or not this one's arguments. */
export class UsageError extends HintedError {
  override readonly name = "UsageError";
}
