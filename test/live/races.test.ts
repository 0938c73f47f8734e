/**
 * Names are not files: while a program renames, links and replaces images as fast as it can, what is
 * opened for a guest, labelled and passed is what was inspected and granted, or nothing.
 *
 * @module
 */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { dirname } from "node:path";
import { after, before, describe, it } from "node:test";
import { checkLog } from "../../agent/audit/check.ts";
import { grantImages } from "../../agent/grant/grant.ts";
import type { Host } from "../../agent/host.ts";
import { inspectImages } from "../../agent/image/inspect.ts";
import { layersOf } from "../../agent/image/layer.ts";
import { type OpenImage, openImage } from "../../agent/image/open.ts";
import { labelImage } from "../../agent/label/apply.ts";
import { isOurs } from "../../agent/label/assign.ts";
import { kernel } from "../../agent/label/selinux.ts";
import { createOverlay, unlinkOverlay } from "../../agent/operation/overlay.ts";
import { cgroupOf } from "../../agent/process/cgroup.ts";
import {
  attachFiles,
  credential,
  decideAndOpen,
  finishUndoing,
  guestOf,
  openHost,
  type Use,
} from "./file_part.ts";
import { forgeHeader, makeTrack, type Raced, Racer, type Track } from "./race.ts";
import { keepsLabels, prepareHost, STORAGE, type Storage } from "./world.ts";

/** Each so-manieth round goes through the log. */
const RECORDED = 10;

/** A round that ended otherwise would be an error of the agent's own. */
const REFUSALS = ["ImageError", "SystemError", "RefusedError"];

const RUNS: readonly [Storage, rounds: number][] = [["ext4", 10_000], ["nfs42", 2000]];

for (const [storage, rounds] of RUNS) {
  describe(`while names of images on ${storage} are swapped`, () => {
    let track: Track;
    let host: Host & Disposable;
    let others: string;
    const theirImages: OpenImage[] = [];

    before(async () => {
      await prepareHost();
      track = await makeTrack(storage);
      host = openHost(STORAGE[storage]);
      const guest = guestOf("web2", track.theirs);
      const found = inspectImages(guest, host);
      const { operation, level } = grantImages(guest, found, credential, cgroupOf("web2"), host);
      for (const image of found) theirImages.push(openImage(image, credential, host.folders));
      for (const image of theirImages) labelImage(image, level, kernel);
      host.log.append({ event: "outcome", operation, guest: "web2", result: "done" });
      forgeHeader(track);
      others = await track.others();
    });

    after(() => {
      for (const image of theirImages.splice(0)) image[Symbol.dispose]();
      host[Symbol.dispose]();
    });

    /** Nothing that is not the guest's was touched, by whatever name it was met. */
    async function requireUntouched({ outside, lost }: Raced): Promise<void> {
      assert.equal(outside, 0, "nobody opened, read or changed a file outside of the folders");
      assert.equal(lost, 0, "no image of another guest was removed");
      assert.equal(await track.others(), others, "owner, mode, label and content are as before");
    }

    it(`${rounds} attaches open and label the guest's own files, or refuse`, async () => {
      const guest = guestOf("web1", track.mine);
      const came = new Map<string, number>();
      const begin = performance.now();
      const racer = await Racer.start(track, 4000);
      let raced: Raced;
      try {
        for (let round = 0; round < rounds; round++) {
          let outcome = "attached";
          try {
            const check: Use = (images) => {
              for (const { layer, identity, ro, rw, locked } of images) {
                for (const fd of [ro, locked, ...rw === undefined ? [] : [rw]]) {
                  assert.equal(fd.identity, identity, "opened is what was granted");
                }
                assert.ok(!track.forbidden.has(identity), `round ${round}: ${layer.path}`);
                // An empty file that root puts there under the base's name is a base: raw has no header.
                if (!track.own.has(identity)) outcome = "attached with a new base";
                assert.ok(layer.format === "raw" || track.own.has(identity));
                assert.equal(isOurs(kernel.readLabel(ro)!), keepsLabels(storage));
              }
            };
            await finishUndoing(host);
            if (round % RECORDED === 0) await attachFiles(guest, host, check);
            else decideAndOpen(guest, host, check);
          } catch (error) {
            const { name, code } = error as Error & { code?: string };
            if (!REFUSALS.includes(name)) throw error;
            outcome = code ?? name;
          }
          came.set(outcome, (came.get(outcome) ?? 0) + 1);
          // The racer is heard of only when this process waits.
          if (round % 100 === 0) await new Promise((resolve) => setTimeout(resolve, 0));
        }
      } finally {
        raced = await racer.stop();
      }
      const seconds = (performance.now() - begin) / 1000;
      console.log(`${storage}: ${rounds} rounds in ${seconds.toFixed(0)} s`, came, raced);
      await requireUntouched(raced);
      for (const outcome of ["attached", "replaced", "ELOOP"]) {
        assert.ok((came.get(outcome) ?? 0) >= rounds / 1000, `${outcome} happened`);
      }
    });

    it("the log never names another file as the guest's", () => {
      assert.ok(checkLog(host.log.path).ok);
      for (const line of readFileSync(host.log.path, "utf8").trimEnd().split("\n")) {
        const { guest, identity, undo = [] } = JSON.parse(line);
        if (guest !== "web1") continue;
        for (const named of [identity, ...undo.map((it: { identity?: string }) => it.identity)]) {
          assert.ok(!track.forbidden.has(named), line);
        }
      }
    });

    it("and leaves nothing behind that would keep the guest from being attached", async () => {
      await finishUndoing(host);
      const { intents, levels } = host.log.state;
      assert.deepEqual([[...intents.keys()], [...levels.keys()]], [[], ["web2"]]);
      let attached = 0;
      await attachFiles(guestOf("web1", track.mine), host, () => attached++);
      assert.equal(attached, 1);
    });

    it("300 overlays are new files of the guest's own, or are refused", async () => {
      const [top] = layersOf(guestOf("web1", track.mine));
      const came = new Map<string, number>();
      const racer = await Racer.start(track, 2000);
      let raced: Raced;
      try {
        for (let round = 0; round < 300; round++) {
          const layer = { ...top!, path: `${dirname(track.mine.root)}/overlay-${round}.qcow2` };
          let outcome = "made";
          try {
            const { identity } = createOverlay(layer, "s0:c1,c2", credential, host);
            assert.ok(!track.forbidden.has(identity) && !track.own.has(identity), `${round}`);
            unlinkOverlay(layer.path, identity, host);
          } catch (error) {
            const { name, code } = error as Error & { code?: string };
            if (!REFUSALS.includes(name)) throw error;
            outcome = code ?? name;
            // As the log would have it: made, and not recorded yet.
            unlinkOverlay(layer.path, null, host);
          }
          came.set(outcome, (came.get(outcome) ?? 0) + 1);
          await new Promise((resolve) => setTimeout(resolve, 1));
        }
      } finally {
        raced = await racer.stop();
      }
      console.log(`${storage}: 300 overlays`, came, raced);
      await requireUntouched(raced);
      assert.ok(raced.overlays > 30, `the racer met overlays: ${raced.overlays}`);
    });
  });
}
