/** Answers each line on standard input with the microseconds that `work` took, one by one. */
export function serve(work: (line: string) => Promise<number[]>): void {
  let rest = "";
  let queue: Promise<void> = Promise.resolve();
  process.stdin.setEncoding("utf8");
  process.stdin.on("data", (text: string) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    for (const line of lines) {
      queue = queue.then(async () => {
        const times = await work(line);
        process.stdout.write(`${times.map((time) => time.toFixed(2)).join(" ")}\n`);
      });
    }
  });
  process.stdin.on("end", () => process.exit(0));
}

/** Microseconds that an action takes. */
export async function timed(action: () => Promise<unknown>): Promise<number> {
  const start = process.hrtime.bigint();
  await action();
  return Number(process.hrtime.bigint() - start) / 1000;
}
