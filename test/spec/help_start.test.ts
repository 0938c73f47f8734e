import { describe, it } from "node:test";
import assert from "node:assert/strict";
import process from "node:process";

/** Replaces the streams of this process by ones that are noted when somebody gets them. */
function watchStreams(): { used: string[]; restore(): void } {
  const used: string[] = [];
  const undo = (["stdout", "stderr"] as const).map((name) => {
    const before = Object.getOwnPropertyDescriptor(process, name)!;
    const stream = process[name];
    const get = () => {
      used.push(name);
      return stream;
    };
    Object.defineProperty(process, name, { configurable: true, enumerable: true, get });
    return () => void Object.defineProperty(process, name, before);
  });
  return { used, restore: () => undo.forEach((it) => it()) };
}

describe("--help", () => {
  // The first use of process.stdout costs Bun more than all the rest.
  it("loads nothing that touches the process's streams", async () => {
    const { used, restore } = watchStreams();
    try {
      await import("../../agent/command/exit_status.ts");
      await import("../../agent/command/find.ts");
      const { overview } = await import("../../agent/command/help.ts");
      assert.match(overview(), /Usage: svirt-agent/);
    } finally {
      restore();
    }
    assert.deepEqual(used, []);
  });
});
