/**
 * The agent dies by SIGKILL after each step of a canary; recovery leaves nothing of it, by the log
 * alone. Steps are enumerated by the code.
 *
 * @module
 */

import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { before, describe, it } from "node:test";
import { processContexts } from "../../agent/process/contexts.ts";
import { cgroupOf } from "../../agent/process/cgroup.ts";
import { CANARY_STEPS } from "../../agent/verify/canary.ts";
import { avcsOf } from "./audit_log.ts";
import { svirtAgent } from "./command.ts";
import {
  claim,
  type GuestFile,
  logState,
  makeBase,
  makeGuest,
  prepareHost,
  Run,
  STORAGE,
} from "./world.ts";

/** The guest's domain: nobody else runs in it here. */
const DOMAIN = "svirt_prot_exec_t";

describe("the agent is killed while a canary runs", () => {
  let guest: GuestFile;
  before(async () => {
    await prepareHost();
    makeBase("ext4");
    guest = await makeGuest("web1", "ext4");
  });

  for (const step of CANARY_STEPS) {
    it(`after "${step}": recovery leaves nothing of it`, async () => {
      const env = { SVIRT_TEST_DIE_AFTER: `canary:${step}` };
      const run = await new Run(guest.name, guest.file, env).running();
      const { status } = await svirtAgent("verify", guest.name, "--canary");
      assert.notEqual(status, 0);
      assert.equal(await run.ended, 137, run.output);
      const denied = await avcsOf(
        "any",
        ({ path, name }) => (path ?? name ?? "").includes(".svirt-agent-canary-"),
        1000,
      );
      claim(denied.map(({ serial }) => serial), `canary, killed after ${step}`);

      const recovered = await svirtAgent("guest", "recover", guest.name, "--stop");
      assert.equal(recovered.status, 0, recovered.stderr);
      assert.deepEqual(readdirSync(STORAGE.ext4).filter((it) => it.includes("canary")), []);
      assert.ok(!existsSync(cgroupOf(`${guest.name}:canary`).path), "its cgroup is gone");
      const left = processContexts().filter(({ context }) => context.includes(`:${DOMAIN}:`));
      assert.deepEqual(left, [], "nothing runs in a guest's context");
      const { levels, grants, intents } = logState();
      assert.deepEqual([levels.size, grants.size, intents.size], [0, 0, 0]);
    });
  }
});
