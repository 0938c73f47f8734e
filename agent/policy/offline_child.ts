/**
 * Answers one {@link ./offline_task.ts task}: what libsepol keeps of each policy that it loads goes
 * when this process ends.
 *
 * @module
 */

import { readFileSync } from "node:fs";
import { OfflinePolicy } from "./offline.ts";
import { decodeTask, encodeAnswers } from "./offline_task.ts";

const { bytes, origin, questions } = decodeTask(readFileSync(0));
process.stdout.write(encodeAnswers(new OfflinePolicy(bytes, origin).ask(questions)));
