import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Command, UsageError } from "../../agent/command/command.ts";
import { helpOf, overview } from "../../agent/command/help.ts";
import { findCommand } from "../../agent/command/find.ts";
import { parse } from "../../agent/command/parse.ts";
import { COMMANDS } from "../../agent/command/table.ts";
import { FakeHost } from "../fakes/host.ts";

/** Words that could stand for the operands, as few as allowed or one of each. */
function operandsFor({ operands }: Command, optional: boolean): string[] {
  return operands.split(" ").filter(Boolean)
    .filter((word) => optional || !word.startsWith("["))
    .map((word) => word.replaceAll(/[[\].]/g, "").toLowerCase());
}

function usage(message: RegExp, hint: RegExp): (error: unknown) => true {
  return (error) => {
    assert(error instanceof UsageError);
    assert.match(error.message, message);
    assert.match(error.hint, hint);
    return true;
  };
}

describe("the table of commands", () => {
  it("names each once, with one word or two", () => {
    const names = COMMANDS.map(({ name }) => name);
    assert.deepEqual([...new Set(names)], names);
    for (const name of names) assert.match(name, /^[a-z]+( [a-z]+)?$/);
  });

  it("leaves --help and -h to every command", () => {
    for (const { options } of COMMANDS) {
      assert(!Object.hasOwn(options, "help"));
      assert(Object.values(options).every(({ short }) => short !== "h"));
    }
  });

  it("says what the value of an option is, for exactly those that take one", () => {
    for (const { options } of COMMANDS) {
      for (const { type, value } of Object.values(options)) {
        assert.equal(type === "string", value !== undefined);
      }
    }
  });

  for (const command of COMMANDS) {
    it(`loads ${command.name}`, async () => {
      assert.equal(typeof (await command.load()).run, "function");
    });
  }
});

for (const command of COMMANDS) {
  const { name, operands, options } = command;
  const words = name.split(" ");
  const least = operandsFor(command, false);
  const most = operandsFor(command, true);

  describe(`svirt-agent ${name}`, () => {
    it("is found by its name, and leaves the rest", () => {
      const { command: found, rest } = findCommand([...words, "a", "--b"]);
      assert.equal(found, command);
      assert.deepEqual(rest, ["a", "--b"]);
    });

    it(`takes ${operands || "nothing"}`, () => {
      assert.deepEqual(parse(command, least).operands, least);
      assert.deepEqual(parse(command, most).operands, most);
    });

    if (operands.includes("...")) {
      it("takes any number of the last", () => {
        const many = [...most, "x", "y", "z"];
        assert.deepEqual(parse(command, many).operands, many);
      });
    } else {
      it(`takes no ${most.length + 1} operands`, () => {
        assert.throws(
          () => parse(command, [...most, "more"]),
          usage(
            new RegExp(`^svirt-agent ${name} takes .*; ${most.length + 1} were given$`),
            new RegExp(`^See: svirt-agent ${name} --help$`),
          ),
        );
      });
    }

    if (least.length > 0) {
      it(`takes no ${least.length - 1} operands`, () => {
        assert.throws(
          () => parse(command, least.slice(1)),
          usage(new RegExp(`; ${least.length - 1} were given$`), new RegExp(`${name} --help$`)),
        );
      });
    }

    for (const [long, { type, short, multiple }] of Object.entries(options)) {
      const value = type === "string" ? "value" : true;
      const spellings = [
        type === "string" ? [`--${long}=value`] : [`--${long}`],
        ...(type === "string" ? [[`--${long}`, "value"]] : []),
        ...(short === undefined
          ? []
          : [type === "string" ? [`-${short}`, "value"] : [`-${short}`]]),
      ];
      for (const spelt of spellings) {
        it(`takes ${spelt.join(" ")}, before and behind the operands`, () => {
          const wanted = multiple === true ? [value] : value;
          for (const argv of [[...spelt, ...least], [...least, ...spelt]]) {
            const { options, operands } = parse(command, argv);
            assert.deepEqual(options[long], wanted);
            assert.deepEqual(operands, least);
          }
        });
      }

      it(type === "string" ? `wants a value for --${long}` : `wants no value for --${long}`, () => {
        const wrong = type === "string" ? [...least, `--${long}`] : [...least, `--${long}=yes`];
        assert.throws(() => parse(command, wrong), usage(new RegExp(`--${long}`), /--help$/));
      });
    }

    it("takes no option that it does not have", () => {
      assert.throws(
        () => parse(command, [...least, "--no-such-option"]),
        usage(/--no-such-option/, new RegExp(`^See: svirt-agent ${name} --help$`)),
      );
    });

    it("tells about itself, its operands and each option", () => {
      const help = helpOf(command);
      assert(help.startsWith(`svirt-agent ${name}: ${command.summary}\n`));
      assert(help.includes(`Usage: svirt-agent ${name} [OPTION...] ${operands}`.trimEnd()));
      for (const [long, { help: says, value }] of Object.entries(options)) {
        const line = help.split("\n").find((line) => line.includes(`--${long}`));
        assert(line?.includes(says), long);
        assert(value === undefined || line?.includes(`--${long} ${value}`), long);
      }
    });

    it("stands in the overview", () => {
      assert(overview().includes(`  ${name} ${operands}`.trimEnd()));
    });
  });
}

describe("findCommand", () => {
  const NOUNS = ["guest", "image", "snapshot", "boolean", "audit"];
  for (const noun of NOUNS) {
    it(`asks what of ${noun}, and lists what there is`, () => {
      const hint = new RegExp(`^One of: ${noun} `);
      assert.throws(() => findCommand([noun]), usage(new RegExp(`^${noun} what\\?$`), hint));
      assert.throws(
        () => findCommand([noun, "nonsense"]),
        usage(new RegExp(`^There is no command "${noun} nonsense"$`), hint),
      );
    });
  }

  for (const word of ["nonsense", "Run", "", "constructor", "__proto__", "--json"]) {
    it(`knows no command "${word}"`, () => {
      const message = `There is no command "${word}"`;
      assert.throws(() => findCommand([word]), { name: "UsageError", message });
    });
  }
});

const repository = fileURLToPath(new URL("../..", import.meta.url));
const MAIN = `agent/main.${import.meta.url.endsWith(".ts") ? "ts" : "js"}`;
const RUN = "Deno" in globalThis ? ["run", "-A", "--no-check"] : [];

interface Ended {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

function svirtAgent(...args: string[]): Promise<Ended> {
  const argv = [...RUN, MAIN, ...args];
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      argv,
      { cwd: repository, timeout: 20_000 },
      (error, stdout, stderr) =>
        resolve({ status: error === null ? 0 : Number(error.code), stdout, stderr }),
    );
  });
}

describe("svirt-agent as a process", () => {
  for (const spelt of ["--help", "-h", "help"]) {
    it(`prints the overview on stdout for ${spelt}, and exits with 0`, async () => {
      assert.deepEqual(await svirtAgent(spelt), {
        status: 0,
        stdout: `${overview()}\n`,
        stderr: "",
      });
    });
  }

  for (const { name } of [COMMANDS[0]!, COMMANDS.find(({ name }) => name === "boolean set")!]) {
    it(`prints the help of ${name} on stdout, whatever else is there, and exits with 0`, async () => {
      const { command } = findCommand(name.split(" "));
      assert.deepEqual(await svirtAgent(...name.split(" "), "--nonsense", "--help"), {
        status: 0,
        stdout: `${helpOf(command)}\n`,
        stderr: "",
      });
    });
  }

  it("prints the commands that begin with a word for --help behind it, and exits with 0", async () => {
    const { status, stdout, stderr } = await svirtAgent("policy", "--help");
    assert.deepEqual({ status, stderr }, { status: 0, stderr: "" });
    for (const { name } of COMMANDS) {
      assert.equal(stdout.includes(`  ${name} `), name.startsWith("policy "), name);
    }
  });

  // deno-fmt-ignore
  const MISTAKES: readonly (readonly [args: readonly string[], message: string])[] = [
    [[],                              "What is to be done?"],
    [["nonsense"],                    'There is no command "nonsense"'],
    [["guest"],                       "guest what?"],
    [["run"],                         "svirt-agent run takes GUEST.toml; 0 were given"],
    [["guest", "list", "--nonsense"], "Unknown option '--nonsense'"],
    [["boolean", "plan", "virt_use_nfs", "maybe"], '"maybe" is neither on nor off'],
    [["run", "/no/such/guest.toml"],  "/no/such/guest.toml"],
    [["guest", "list", "--config", "/no/such/agent.toml"], "/no/such/agent.toml"],
  ];
  for (const [args, message] of MISTAKES) {
    it(`exits with 2 for "${args.join(" ")}", says why with a hint on stderr, and nothing on stdout`, async () => {
      const { status, stdout, stderr } = await svirtAgent(...args);
      assert.equal(stdout, "");
      const [first, second] = stderr.split("\n");
      assert(first!.startsWith("svirt-agent: ") && first!.includes(message), stderr);
      assert.match(second ?? "", /^ {2}hint: ./, stderr);
      assert.doesNotMatch(stderr, /\n {4}at /, "no stack");
      assert.equal(status, 2);
    });
  }

  const skip = existsSync("/sys/fs/selinux/enforce") ? "SELinux is on here" : false;
  for (const args of [["boolean", "get"], ["boolean", "plan", "virt_use_nfs", "on"]]) {
    it(
      `exits with 3 for "${args.join(" ")}" where SELinux is off, with a hint`,
      { skip },
      async () => {
        assert.deepEqual(await svirtAgent(...args), {
          status: 3,
          stdout: "",
          stderr: "svirt-agent: SELinux is disabled on this host: it has no booleans\n" +
            "  hint: To see the agent work all the same: npm start\n",
        });
      },
    );
  }

  it("ends as if nothing was when its reader has seen enough, and says nothing of it", async () => {
    using host = new FakeHost();
    const log = join(host.folder, "long.jsonl");
    const record = { event: "agent-start", runtime: "node", pid: 1, prev: "x".repeat(200) };
    writeFileSync(log, `${JSON.stringify(record)}\n`.repeat(20_000));
    const argv = [...RUN, MAIN, "audit", "show", "--json", "--file", log];
    const child = spawn(process.execPath, argv, { cwd: repository });
    let stderr = "";
    child.stderr.on("data", (text) => stderr += text);
    child.stdout.once("data", () => child.stdout.destroy());
    const status = await new Promise((resolve) => child.on("close", resolve));
    assert.deepEqual({ status, stderr }, { status: 0, stderr: "" });
  });
});
