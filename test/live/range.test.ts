/** The agent's range: what Fedora's constraints ask for, seen in the policy that this kernel loaded. */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { must } from "./command.ts";

describe("an agent that init starts at s0, as systemd does", () => {
  for (const domain of ["init_t", "initrc_t"]) {
    it(`has every category in its range, when ${domain} starts it`, async () => {
      const from = `system_u:system_r:${domain}:s0`;
      const context = await must("selinuxexeccon", "/usr/sbin/svirt-agent", from);
      assert.equal(context.trim(), "system_u:system_r:svirt_agent_t:s0-s0:c0.c1023");
    });
  }
});
