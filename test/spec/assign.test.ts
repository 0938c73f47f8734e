import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { labelFor } from "../../agent/label/assign.ts";
import { formatContext } from "../../agent/label/context.ts";

const LEVEL = "s0:c41,c264";

describe("labelFor", () => {
  // deno-fmt-ignore
  const CASES = [
    ["an image that its guest may write", { access: "rw", shared: false }, "svirt_fd_image_t", LEVEL],
    ["an image that its guest only reads", { access: "ro", shared: false }, "svirt_fd_ro_t", LEVEL],
    ["a base of several guests", { access: "ro", shared: true }, "svirt_fd_ro_t", "s0"],
  ] as const;
  for (const [what, layer, type, level] of CASES) {
    it(`is ${type}:${level} for ${what}`, () => {
      assert.equal(formatContext(labelFor(layer, LEVEL)), `system_u:object_r:${type}:${level}`);
    });
  }
});
