import type { Row } from "./compare.ts";

/** What a measurement is given. */
export interface Bench {
  /** On a disk; emptied afterwards. */
  readonly folder: string;
  /** For unix sockets, whose paths have to be short. */
  readonly sockets: string;
  /** What the compiler made of the working tree. */
  readonly compiled: string;
  /** Tells how far it is. */
  say(line: string): void;
}

/** Answers one row for each runtime. */
export type Measure = (bench: Bench) => Promise<Row[]>;
