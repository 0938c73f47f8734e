import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import process from "node:process";
import type { Guest, Image } from "../../agent/guest.ts";
import { checkHeaders, type HeaderCheck } from "../../agent/image/pinned.ts";
import { layersOf } from "../../agent/image/layer.ts";
import { identityOf } from "../../agent/owned_fd.ts";
import { statx } from "../../ffi/libc.ts";
import { FakeHost } from "../fakes/host.ts";
import { qcow2 } from "../fakes/qcow2.ts";

const skip = process.getuid?.() === 0 ? false : "needs root: allowed folders belong to root";

/** An image that is pinned to a raw base, and whose header says what it is told to. */
function image(host: FakeHost, header: (base: string) => Uint8Array): HeaderCheck {
  const base = host.file("base.raw");
  const path = host.file("web1.qcow2", header(base));
  const root = {
    ...{ name: "root", path, format: "qcow2", access: "rw" },
    backing: [{ path: base, format: "raw", shared: true }],
  } as unknown as Image;
  const files = layersOf({ images: [root] } as unknown as Guest)
    .map((layer) => ({ layer, identity: identityOf(statx(layer.path)) }));
  return { guest: "web1", files, pinnedBy: "web1.toml", runs: false };
}

function findings({ log }: FakeHost): { id: string; severity: string; text: string }[] {
  return readFileSync(log.path, "utf8").split("\n").filter(Boolean)
    .map((line) => JSON.parse(line)).filter(({ event }) => event === "finding");
}

describe("checkHeaders", { skip }, () => {
  it("tells and records nothing while the header says what is pinned", () => {
    using host = new FakeHost();
    assert.deepEqual(checkHeaders(image(host, (base) => qcow2(base, "raw")), host), []);
    assert.deepEqual(findings(host), []);
  });

  for (
    const [what, header] of [
      ["backing", () => qcow2("/etc/shadow", "raw")],
      ["backing", () => qcow2()],
      ["backing-format", (base: string) => qcow2(base, "qcow2")],
      ["data-file", (base: string) => qcow2(base, "raw", { data: "/srv/web2.raw" })],
    ] as [string, (base: string) => Uint8Array][]
  ) {
    it(`records a header that says another ${what} as a finding, and answers it`, () => {
      using host = new FakeHost();
      const [error, ...more] = checkHeaders(image(host, header), host);
      assert.deepEqual(more, []);
      assert.equal(error?.code, "header-differs");
      assert.match(error.message, new RegExp(`a header that says ${what} .*; web1.toml says`));
      assert.deepEqual(findings(host).map(({ id, text }) => [id, text]), [
        ["header-differs", error.message],
      ]);
    });
  }

  it("takes a header that is none for a finding only of a guest that runs", () => {
    using host = new FakeHost();
    const check = image(host, () => new Uint8Array(4096));
    assert.throws(() => checkHeaders(check, host), { code: "bad-header" });
    assert.deepEqual(findings(host), []);

    const [error] = checkHeaders({ ...check, runs: true }, host);
    assert.match(error!.message, /says format null; web1.toml says "qcow2"/);
    assert.equal(findings(host).length, 1);
  });
});
