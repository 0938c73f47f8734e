import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { constants } from "node:os";
import { EXIT, UsageError } from "../../agent/command/command.ts";
import { exitStatusOf } from "../../agent/command/exit_status.ts";
import { ConfigError } from "../../agent/config/config_error.ts";
import { RefusedError } from "../../agent/refused_error.ts";
import { ImageError } from "../../agent/image/image_error.ts";
import { CategoriesExhausted } from "../../agent/label/level.ts";
import { NoSelinuxError } from "../../agent/label/ready.ts";
import { DroppedError } from "../../agent/qmp/fdset.ts";
import { MonitorError, QmpError } from "../../agent/qmp/monitor.ts";
import { SystemError } from "../../ffi/errno.ts";

const { ENOENT, EACCES, EEXIST, ELOOP, EXDEV } = constants.errno;

describe("exitStatusOf", () => {
  // deno-fmt-ignore
  const CASES: readonly (readonly [status: keyof typeof EXIT, error: Error])[] = [
    ["usage",   new UsageError("a", "b")],
    ["usage",   new ConfigError("agent.toml", "missing")],
    ["usage",   new ImageError("in-use", "/a", "is in use")],
    ["usage",   new SystemError("openat2", ENOENT, { path: "/a" })],
    ["usage",   new SystemError("openat2", ELOOP, { path: "/a" })],
    ["usage",   new SystemError("openat2", EXDEV, { path: "/a" })],
    ["finding", new ImageError("header-differs", "/a", "has another header")],
    ["finding", new RefusedError("a", "b")],
    ["finding", new DroppedError("/a")],
    ["finding", new CategoriesExhausted({ low: 0, high: 1 }, 1)],
    ["unknown", new NoSelinuxError("a", "b")],
    ["unknown", new MonitorError("a")],
    ["unknown", new QmpError("cont", "GenericError", "no")],
    ["unknown", new SystemError("openat2", EACCES, { path: "/a" })],
    ["unknown", new SystemError("openat2", EEXIST, { path: "/a" })],
    ["unknown", new SystemError("connect", ENOENT, { path: "/a" })],
    ["unknown", new TypeError("a bug of ours")],
    ["unknown", new Error("anything")],
  ];
  for (const [status, error] of CASES) {
    it(`is ${EXIT[status]} (${status}) for ${error.name}: ${error.message}`, () => {
      assert.equal(exitStatusOf(error), EXIT[status]);
    });
  }

  it("never is 0, and never fails, for something that is no Error", () => {
    for (const thrown of [{}, { name: 1 }, "text"]) {
      assert.equal(exitStatusOf(thrown as unknown as Error), 3);
    }
  });
});
