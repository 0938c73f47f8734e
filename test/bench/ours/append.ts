/** `append.ts LOG`: appends to an audit log. A line is a number of records. */

import { AuditLog } from "../../../agent/audit/log.ts";
import { serve } from "./serve.ts";

const log = AuditLog.open(process.argv[2]!);
let count = 0;

serve((line) => {
  const start = process.hrtime.bigint();
  for (let i = Number(line); i > 0; i--) log.append(record(++count));
  return Promise.resolve([Number(process.hrtime.bigint() - start) / 1000]);
});

/** As long as what an attach records of one descriptor, and changes nothing in the log's state. */
function record(count: number) {
  return {
    event: "finding",
    id: "bench",
    severity: "info",
    guest: "web1",
    text: "Neither a finding nor anything else: this record measures what recording costs.",
    evidence: {
      count,
      path: "/srv/nfs/web1.qcow2",
      identity: "0:52:1835",
      label: "system_u:object_r:svirt_fd_image_t:s0:c12,c771",
      reason: "bench",
    },
    hint: "There is nothing to do.",
  } as const;
}
