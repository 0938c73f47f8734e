import type { Command, Option } from "./command.ts";

const json: Option = { type: "boolean", help: "print JSON" };
const config: Option = {
  type: "string",
  value: "FILE",
  help: "the host's settings (default: /etc/svirt-agent/agent.toml)",
};
const dryRun: Option = { type: "boolean", help: "print what would be done and do nothing" };
const root: Option = {
  type: "string",
  value: "FOLDER",
  help: "of the system whose files lie there; nothing is loaded or labelled",
};
const yes: Option = { type: "boolean", short: "y", help: "do it without being asked again" };

const policy: Option = {
  type: "string",
  short: "p",
  value: "FILE",
  help: "a binary policy (default: the one that the kernel enforces)",
};
const boolean: Option = {
  type: "string",
  multiple: true,
  short: "b",
  value: "NAME=on|off",
  help: "suppose that a boolean has this value",
};

/** Every subcommand, in the order of help. */
export const COMMANDS: readonly Command[] = [
  {
    name: "run",
    operands: "GUEST.toml",
    summary: "start one guest in the foreground, guard it, stop with it",
    options: {
      config,
      yes: { ...yes, help: "switch off a boolean that lets guests open its images" },
      "dry-run": dryRun,
    },
    load: () => import("./run.ts"),
  },
  {
    name: "guest list",
    operands: "",
    summary: "guests of this host, by the audit log",
    options: { config, json },
    load: () => import("./guest_list.ts"),
  },
  {
    name: "guest stop",
    operands: "GUEST",
    summary: "stop a guest that runs and take everything away from it",
    options: { config },
    load: () => import("./guest_stop.ts"),
  },
  {
    name: "guest recover",
    operands: "GUEST",
    summary: "bring to an end what a dead agent left",
    options: {
      config,
      stop: { type: "boolean", help: "end a QEMU that still runs" },
    },
    load: () => import("./guest_recover.ts"),
  },
  {
    name: "image chain",
    operands: "PATH",
    summary: "show what the headers of an image say of its backing files",
    options: {
      config,
      format: { type: "string", short: "f", value: "FORMAT", help: "qcow2 or raw; never probed" },
      "backing-format": {
        type: "string",
        value: "FORMAT",
        help: "of a backing file whose header above names none",
      },
      adopt: { type: "boolean", help: "print the lines that pin it in a guest file" },
      json,
    },
    load: () => import("./image_chain.ts"),
  },
  {
    name: "image restore",
    operands: "PATH",
    summary: "give an image back what a host's log says it had, when that host is gone",
    options: {
      config,
      "from-audit": { type: "string", value: "FILE", help: "that host's log, or a copy of it" },
      "dry-run": dryRun,
    },
    load: () => import("./image_restore.ts"),
  },
  {
    name: "snapshot create",
    operands: "GUEST [IMAGE...]",
    summary: "freeze images of a running guest and put overlays on top, all or none",
    options: {
      config,
      "overlay-in": {
        type: "string",
        value: "FOLDER",
        help: "for the overlays; each lies beside its image else, which a block device's cannot",
      },
      json,
    },
    load: () => import("./snapshot_create.ts"),
  },
  {
    name: "boolean get",
    operands: "[NAME]",
    summary: "active, pending and persistent value of the booleans that matter",
    options: { json },
    load: () => import("./boolean_get.ts"),
  },
  {
    name: "boolean plan",
    operands: "NAME on|off",
    summary: "what would change on this host",
    options: { config, json },
    load: () => import("./boolean_plan.ts"),
  },
  {
    name: "boolean set",
    operands: "NAME on|off",
    summary: "switch a boolean, after showing what that changes",
    options: {
      config,
      yes,
      persist: { type: "boolean", help: "also after the next boot" },
      "dry-run": dryRun,
    },
    load: () => import("./boolean_set.ts"),
  },
  {
    name: "verify",
    operands: "GUEST...",
    summary: "prove that guests use what they were handed and open nothing",
    options: {
      config,
      json,
      "through-guest": { type: "boolean", help: "let the guest's own QEMU try it" },
      watch: {
        type: "boolean",
        short: "w",
        help:
          "show it again on a denial, a policy load, a boolean; with --json one document a line",
      },
      canary: {
        type: "boolean",
        help: "let a QEMU without a machine try it, in the guest's context, with files of its own",
      },
      other: {
        type: "string",
        multiple: true,
        value: "PATH",
        help: "with --through-guest: try this path, too; it is not the guest's",
      },
    },
    load: () => import("./verify.ts"),
  },
  {
    name: "policy query",
    operands: "SCONTEXT TCONTEXT CLASS [PERMISSION...]",
    summary: "ask a policy what one context may do to another, and why not",
    options: { policy, boolean, json },
    load: () => import("./policy_query.ts"),
  },
  {
    name: "policy test",
    operands: "[FILE.toml...]",
    summary: "check a policy against assertions (default: the invariants of sVirt)",
    options: {
      policy,
      boolean,
      format: {
        type: "string",
        value: "FORMAT",
        help: "text (default), tap, json, junit or sarif",
      },
    },
    load: () => import("./policy_test.ts"),
  },
  {
    name: "policy diff",
    operands: "OLD NEW [FILE.toml...]",
    summary: "what assertions say of one policy and not of another, and the rules behind it",
    options: {
      boolean,
      all: { type: "boolean", help: "also all that guest types may do with every type" },
      json,
    },
    load: () => import("./policy_diff.ts"),
  },
  {
    name: "policy matrix",
    operands: "",
    summary: "find what guests can get at of other guests' images",
    options: {
      policy,
      boolean,
      guest: {
        type: "string",
        multiple: true,
        value: "CONTEXT",
        help: "a guest (default: all that run here, and the images they have open)",
      },
      image: { type: "string", multiple: true, value: "CONTEXT", help: "an image" },
      contexts: {
        type: "string",
        value: "FILE",
        help: "more of both, one a line: guest CONTEXT [NAME], image CONTEXT [NAME]",
      },
      permissions: {
        type: "string",
        value: "NAME[,NAME]",
        help: "what is asked (default: open,read,write)",
      },
      all: { type: "boolean", help: "also print what is as it should be" },
      json,
    },
    load: () => import("./policy_matrix.ts"),
  },
  {
    name: "policy explain",
    operands: "[AVC|FILE|-...]",
    summary: "what was denied, what said no, what to do: a denial, or logs with denials",
    options: {
      policy,
      log: { type: "string", value: "FILE", help: "the agent's log, for whose images they are" },
      assertions: {
        type: "string",
        multiple: true,
        value: "FILE.toml",
        help: "assertions of your own, besides the invariants of sVirt",
      },
      expect: {
        type: "string",
        value: "FILE.toml",
        help: "denials that are expected: fail on others, and on those that are missing",
      },
      "print-expect": { type: "boolean", help: "print such a file for these denials" },
      json,
    },
    load: () => import("./policy_explain.ts"),
  },
  {
    name: "policy install",
    operands: "[FOLDER]",
    summary: "install the agent's policy modules, or those of a folder, and label its files",
    options: { root, "dry-run": dryRun },
    load: () => import("./policy_install.ts"),
  },
  {
    name: "policy remove",
    operands: "",
    summary: "remove the agent's policy modules, when no guest and no image needs them",
    options: {
      config,
      root,
      relabel: { type: "boolean", help: "give images that carry their labels their own ones back" },
      "dry-run": dryRun,
    },
    load: () => import("./policy_remove.ts"),
  },
  {
    name: "audit show",
    operands: "",
    summary: "the log, one record a line",
    options: {
      config,
      json,
      file: { type: "string", value: "FILE", help: "another log" },
      guest: { type: "string", value: "GUEST", help: "of this guest only" },
    },
    load: () => import("./audit_show.ts"),
  },
  {
    name: "audit verify",
    operands: "[FILE]",
    summary: "check that no record of the log was changed or taken out",
    options: { config, json },
    load: () => import("./audit_verify.ts"),
  },
];
