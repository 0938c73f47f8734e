/** One side of a measurement: the product, or what it is measured beside. */
export interface Contestant {
  /** Does its work once; answers what that took, in the measurement's unit. */
  round(): Promise<number>;
}

/** What is measured, and when it is good enough. */
export interface Bar {
  readonly name: string;
  readonly unit: "us" | "ms";
  /** Highest ratio of ours to the peer's. */
  readonly bar: number;
  /** Most that ours may take above the peer, in the unit. */
  readonly above?: number;
}

/** One line of the result. */
export interface Row extends Bar {
  /** Medians of the rounds. */
  readonly ours: number;
  readonly peer: number;
  /** Median of each round's own ratio, so that load that comes and goes meets both sides. */
  readonly ratio: number;
  /** Median of what ours took above the peer in each round, in the unit. */
  readonly difference: number;
}

/** How often both sides take their turn. */
export interface Rounds {
  readonly warmUp: number;
  readonly rounds: number;
}

/** The middle of an odd number of values, the mean of the two in the middle of an even one. */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError("Cannot take the median of nothing");
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** What the rounds come to; `pairs` are ours and the peer's, round by round. */
export function rowOf(bar: Bar, pairs: readonly (readonly [ours: number, peer: number])[]): Row {
  const ours = median(pairs.map(([ours]) => ours));
  const peer = median(pairs.map(([, peer]) => peer));
  const ratio = median(pairs.map(([ours, peer]) => ours / peer));
  const difference = median(pairs.map(([ours, peer]) => ours - peer));
  return { ...bar, ours, peer, ratio, difference };
}

/** Is it good enough? */
export function holds({ ratio, difference, bar, above }: Row): boolean {
  return ratio <= bar && (above === undefined || difference <= above);
}

/** Lets both sides take turns; who begins changes from round to round. */
export async function compare(
  bar: Bar,
  ours: Contestant,
  peer: Contestant,
  { warmUp, rounds }: Rounds,
): Promise<Row> {
  const pairs: [number, number][] = [];
  for (let i = -warmUp; i < rounds; i++) {
    const first = i % 2 === 0 ? ours : peer;
    const one = await first.round();
    const other = await (first === ours ? peer : ours).round();
    if (i >= 0) pairs.push(first === ours ? [one, other] : [other, one]);
  }
  return rowOf(bar, pairs);
}
