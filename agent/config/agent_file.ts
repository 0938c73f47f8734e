import type { Fence } from "../guest.ts";
import { absolutePath } from "./path.ts";
import {
  list,
  oneOf,
  optional,
  optionalTable,
  Place,
  type Reader,
  required,
  string,
  table,
} from "./schema.ts";
import { readToml } from "./toml.ts";

/** Read when no other file is named. */
export const AGENT_FILE = "/etc/svirt-agent/agent.toml";

/** What agent.toml says about this host; spelt as there. */
export interface HostSettings {
  /** Absolute; images lie beneath one of them. */
  readonly folders: readonly string[];
  readonly audit: AuditSettings;
  /** Categories that guests get, two each. */
  readonly categories: CategoryRange;
  /** `"off"`: a boolean that would let guests open images is switched off without asking. */
  readonly boolean: "ask" | "off";
  /** What happens when somebody switches it on while guests run. */
  readonly onBooleanOn: "report" | "stop-guest";
  /** For guests whose file does not say. */
  readonly fence: Fence;
  /** Absolute; sockets and other files of running guests. */
  readonly runtimeFolder: string;
}

/** Table `[audit]`. */
export interface AuditSettings {
  /** Absolute. */
  readonly folder: string;
}

/** `c0.c1023` has low 0 and high 1023. */
export interface CategoryRange {
  readonly low: number;
  readonly high: number;
}

/** What MCS policies have. */
const MOST = 1023;
const RANGE = 'say a range of at least two, "c0.c1023"';

const categories: Reader<CategoryRange> = (value, place) => {
  const text = string()(value, place);
  const match = /^c(0|[1-9]\d{0,3})\.c(0|[1-9]\d{0,3})$/.exec(text);
  const low = Number(match?.[1]), high = Number(match?.[2]);
  if (match !== null && high <= MOST && low < high) return { low, high };
  throw place.error(`${JSON.stringify(text)} is no range of categories (${RANGE})`);
};

const settings: Reader<HostSettings> = (value, place) => {
  const read = table<HostSettings>({
    folders: required(list(absolutePath), 'say where images lie: ["/srv/images"]'),
    audit: optionalTable(table<AuditSettings>({
      folder: optional(absolutePath, "/var/log/svirt-agent"),
    })),
    categories: optional(categories, { low: 0, high: MOST }),
    boolean: optional(oneOf("ask", "off"), "ask"),
    onBooleanOn: optional(oneOf("report", "stop-guest"), "report"),
    runtimeFolder: optional(absolutePath, "/run/svirt-agent"),
    fence: optional(oneOf("off", "owner"), "off"),
  })(value, place);
  if (read.folders.length > 0) return read;
  throw place.at("folders").error('empty (say where images lie: ["/srv/images"])');
};

const WHEN_MISSING = `Write one that says where images lie:

    folders = ["/srv/images"]        # root's, writable by nobody else
`;

/**
 * Reads agent.toml.
 *
 * @param path Absent: {@linkcode AGENT_FILE}.
 * @throws `ConfigError`; for a file that does not exist, its hint is the smallest that works.
 */
export function readAgent(path: string = AGENT_FILE): HostSettings {
  return settings(readToml(path, WHEN_MISSING), new Place(path));
}
