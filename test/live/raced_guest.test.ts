/**
 * `svirt-agent run` and `snapshot create` while a program swaps the names of the guest's images: what
 * QEMU holds and what is labelled is the guest's own, or the command refuses.
 *
 * @module
 */

import assert from "node:assert/strict";
import { globSync, rmSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { cgroupOf, membersOf } from "../../agent/process/cgroup.ts";
import { descriptorsOf } from "../../agent/process/descriptor.ts";
import { avcsOf } from "./audit_log.ts";
import { must, svirtAgent } from "./command.ts";
import { guestFile } from "./left_alone.ts";
import { forgeHeader, makeTrack, Racer, type Track } from "./race.ts";
import { claim, logState, prepareHost, Run, USER } from "./world.ts";

const ROUNDS = 20;

function guestToml(name: string, { root, base }: Track["mine"]): string {
  return `name = "${name}"
[qemu]
binary = "qemu-system-x86_64"
args = ["-machine", "q35", "-m", "32", "-display", "none"]
user = "${USER}"
accelerator = "tcg"
[[image]]
name = "root"
path = "${root}"
format = "qcow2"
backing = [{ path = "${base}", format = "raw" }]
`;
}

describe("while names of images are swapped, on ext4", () => {
  let track: Track;
  let file: string;
  let theirs: Run;
  let others: string;

  before(async () => {
    await prepareHost();
    track = await makeTrack("ext4");
    file = await guestFile("web1", guestToml("web1", track.mine));
    const their = await guestFile("web2", guestToml("web2", track.theirs));
    theirs = await new Run("web2", their).running();
    forgeHeader(track);
    others = await track.others();
  });
  after(async () => {
    theirs.process.kill("SIGKILL");
    // Looking for a file that was moved the agent may meet a link in a folder's place: it may read none.
    const links = await avcsOf(
      "any",
      ({ tclass, scontext }) => tclass === "lnk_file" && scontext.includes(":svirt_agent_t:"),
    );
    claim(links.map(({ serial }) => serial), "the racer's symbolic links");
  });

  /** Overlays of web1, wherever the racer has its folder at the moment. */
  const overlays = () => globSync(`${track.folder}/*/root.2*.qcow2`);

  /** Every file that QEMU holds is the guest's own: its image, its base, or an overlay. */
  function requireOwn(): number {
    const [pid] = membersOf(cgroupOf("web1"));
    if (pid === undefined) return 0;
    const held = descriptorsOf(pid).filter(({ path }) => path.startsWith(track.folder));
    for (const { identity, path } of held) {
      assert.ok(!track.forbidden.has(identity), `QEMU holds ${path} (${identity})`);
    }
    return held.length;
  }

  it(`${ROUNDS} times a guest is run and frozen with its own files, or refused`, async () => {
    const came = new Map<string, number>();
    const count = (what: string) => came.set(what, (came.get(what) ?? 0) + 1);
    const racer = await Racer.start(track, 400_000);
    let raced;
    try {
      for (let round = 0; round < ROUNDS; round++) {
        const run = new Run("web1", file);
        const isRunning = await run.running().then(() => true, () => false);
        if (!isRunning) {
          const status = await run.ended;
          count(`run: exit ${status}`);
          assert.ok([1, 2, 3].includes(status), run.output);
          assert.match(run.output, /hint: |ENOENT|replaced/, "it says why");
        } else {
          count("run");
          assert.ok(requireOwn() > 0, "QEMU has its images");
          const { status, stderr } = await svirtAgent("snapshot", "create", "web1", "root");
          count(`snapshot: exit ${status}`);
          assert.ok([0, 1, 2, 3].includes(status), stderr);
          requireOwn();
          // Every second one dies; its successor finds its way by the log.
          if (round % 2 === 0) await run.stop().catch(() => count("stop failed"));
          else run.process.kill("SIGKILL");
          count(`ended: ${await run.ended}`);
        }
        const { status, stdout, stderr } = await svirtAgent("guest", "recover", "web1", "--stop");
        count(`recover: exit ${status}`);
        assert.ok([0, 1, 2, 3].includes(status), stdout + stderr);
        for (const path of overlays()) rmSync(path, { force: true });
      }
    } finally {
      raced = await racer.stop();
    }
    console.log(came, raced);
    assert.equal(raced.outside, 0, "nobody opened, read or changed a file outside of the folders");
    assert.equal(raced.lost, 0, "no image of another guest was removed");
    assert.ok((came.get("run") ?? 0) > 0, "some were attached");
    assert.ok(raced.overlays > 0, "the racer met overlays");
  });

  it("leaves every other file as it was, with its label and its owner", async () => {
    assert.equal(await track.others(), others);
    for (const [identity, { users }] of logState().references) {
      if (users.some(({ guest }) => guest === "web1")) assert.ok(!track.forbidden.has(identity));
    }
  });

  it("and once names stay, the guest is recovered and runs with its own files", async () => {
    const recovered = await svirtAgent("guest", "recover", "web1", "--stop");
    assert.equal(recovered.status, 0, recovered.stderr);
    for (const path of overlays()) rmSync(path);
    const run = await new Run("web1", file).running();
    assert.ok(requireOwn() >= 3);
    const { status, stderr } = await svirtAgent("snapshot", "create", "web1", "root");
    assert.equal(status, 0, stderr);
    assert.ok(requireOwn() >= 4);
    assert.equal(await run.stop(), 0, run.output);
    const labels = await must("stat", "-c", "%u %C", track.mine.root, track.mine.base);
    assert.equal(labels, "0 system_u:object_r:virt_image_t:s0\n".repeat(2));
    assert.equal(await theirs.stop(), 0, theirs.output);
  });
});
