import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  changeOf,
  changesPolicy,
  describeInstall,
  type Found,
  isDone,
  planInstall,
} from "../../agent/policy/module/plan.ts";
import {
  describeRemoval,
  findObstacles,
  type Present,
  removalOf,
  removesPolicy,
} from "../../agent/policy/module/remove_plan.ts";
import { declaredBy, MODULES, readModules } from "../../agent/policy/module/source.ts";
import type { StoredModule } from "../../agent/policy/module/store.ts";

const sources = readModules();
const declared = declaredBy(sources);
const installed: readonly StoredModule[] = sources.map(({ name, text }) => ({
  name,
  text,
  priority: 400,
  enabled: true,
}));

function found(modules: readonly StoredModule[], more: Partial<Found> = {}): Found {
  const store = { modules, contexts: [] };
  return { sources, declared, store, isLoaded: true, wasCutShort: false, labels: [], ...more };
}

/** The modules as they are installed, one of them changed. */
function withFd(change: Partial<StoredModule>): StoredModule[] {
  return installed.map((it) => it.name === "svirt_fd" ? { ...it, ...change } : it);
}

describe("what our modules declare", () => {
  it("is read from their text: types of files, booleans, file contexts", () => {
    assert.deepEqual(sources.map(({ name }) => name), [...MODULES]);
    assert.deepEqual([...declared.types].sort(), [
      "svirt_agent_cache_t",
      "svirt_agent_exec_t",
      "svirt_agent_log_t",
      "svirt_agent_node_t",
      "svirt_agent_runtime_t",
      "svirt_fd_image_t",
      "svirt_fd_ro_t",
    ]);
    assert.deepEqual(declared.booleans, [
      { name: "svirt_agent_use_devices", value: false },
      { name: "svirt_agent_set_booleans", value: false },
      { name: "svirt_agent_read_audit", value: true },
      { name: "virt_read_write_nfs", value: false },
    ]);
    assert.deepEqual(declared.contexts.map(({ expression }) => expression), [
      "/usr/sbin/svirt-agent.*",
      "/usr/bin/svirt-agent.*",
      "/run/svirt-agent(/.*)?",
      "/var/log/svirt-agent(/.*)?",
      "/var/cache/svirt-agent(/.*)?",
    ]);
  });

  it("leaves comments out", () => {
    assert.deepEqual(declaredBy([{ text: "; (boolean not_me true)\n" }]).booleans, []);
  });

  it("is a mistake of the caller's where a module is missing", () => {
    assert.throws(() => readModules("/nonexistent"), {
      name: "ConfigError",
      message: /\/nonexistent\/svirt_agent\.cil: there is no such module/,
    });
  });
});

describe("the plan of an installation", () => {
  it("is everything, with the booleans that come, where nothing is there", () => {
    const plan = planInstall(found([], { isLoaded: false }));
    const lines = describeInstall(plan).join("\n");
    for (const name of MODULES) assert.match(lines, new RegExp(`module ${name} \\w+ is installed`));
    assert.match(lines, /boolean virt_read_write_nfs comes, off/);
    assert.deepEqual(changeOf(plan, sources).install.map(({ name }) => name), [...MODULES]);
  });

  it("is nothing where the same text is installed and loaded", () => {
    const plan = planInstall(found(installed));
    assert(isDone(plan));
    assert.match(describeInstall(plan).join(), /^nothing to do: svirt_agent \w{12}, /);
  });

  for (
    const [what, modules, more, line] of [
      ["another text", withFd({ text: "old" }), {}, /svirt_fd \w+ is replaced by \w+/],
      ["a disabled one", withFd({ enabled: false }), {}, /svirt_fd \w+ is enabled/],
      ["one too few", installed.slice(0, 2), {}, /svirt_fd \w+ is installed/],
      ["a lower priority", withFd({ priority: 100 }), {}, /svirt_fd \w+ is installed/],
      ["a kernel without them", installed, { isLoaded: false }, /anew: the kernel's policy lacks/],
      ["a commit cut short", installed, { wasCutShort: true }, /anew: an earlier commit was cut/],
    ] as [string, StoredModule[], Partial<Found>, RegExp][]
  ) {
    it(`builds the policy for ${what}, and brings no boolean`, () => {
      const plan = planInstall(found(modules, more));
      assert(changesPolicy(plan));
      const lines = describeInstall(plan).join("\n");
      assert.match(lines, line);
      assert.doesNotMatch(lines, /boolean/);
    });
  }

  it("does not ask the kernel about another system's policy", () => {
    assert(isDone(planInstall(found(installed, { isLoaded: undefined }))));
  });

  it("labels files without building the policy", () => {
    const labels = [{ path: "/usr/sbin/svirt-agent", is: "bin_t", wanted: "svirt_agent_exec_t" }];
    const plan = planInstall(found(installed, { labels }));
    assert(!changesPolicy(plan) && !isDone(plan));
    assert.match(describeInstall(plan).join("\n"), /svirt-agent: bin_t becomes svirt_agent_exec_t/);
  });

  it("sees a copy at a higher priority, which counts more, unless it is the same", () => {
    const higher = (text: string) =>
      planInstall(found([...installed, { ...installed[2]!, priority: 500, text }]))
        .modules.map(({ hiddenBy }) => hiddenBy);
    assert.deepEqual(higher("other"), [undefined, undefined, 500]);
    assert.deepEqual(higher(installed[2]!.text), [undefined, undefined, undefined]);
  });
});

describe("the plan of a removal", () => {
  const image = { path: "/srv/a.raw", is: "u:r:svirt_fd_ro_t:s0", wanted: "u:r:virt_image_t:s0" };
  const present = (more: Partial<Present> = {}): Present => ({
    declared,
    store: { modules: installed, contexts: [] },
    isLoaded: true,
    guests: [],
    agents: [],
    images: [],
    elsewhere: [],
    labels: [],
    ...more,
  });
  const obstacles = (more: Partial<Present>, relabel = false) =>
    findObstacles(present(more), { relabel }).map(({ text, hint }) => `${text} | ${hint}`);

  it("removes them at every priority", () => {
    const modules = [...installed, { ...installed[0]!, priority: 200 }];
    const { remove } = removalOf(present({ store: { modules, contexts: [] } }));
    assert.deepEqual(remove.map(({ name, priority }) => `${name} ${priority}`), [
      "svirt_agent 400",
      "svirt_agent_runtime 400",
      "svirt_fd 400",
      "svirt_agent 200",
    ]);
  });

  it("meets no obstacle on a host that nothing uses them on", () => {
    assert.deepEqual(obstacles({}), []);
    assert.match(describeRemoval(present()).join("\n"), /boolean virt_read_write_nfs goes/);
  });

  for (
    const [what, more, line] of [
      ["a guest", { guests: ["web1"] }, /guest web1 has images \| svirt-agent guest stop web1/],
      ["an agent", { agents: [812] }, /process 812 runs in svirt_agent_t \| .*ps -fZ 812/],
      ["an image", { images: [image] }, /1 image .* \| .*policy remove --relabel/],
      ["an image elsewhere", { elsewhere: ["/x"] }, /\/x has a label .* \| chcon -t virt_image_t/],
      [
        "a rule of semanage fcontext",
        {
          store: {
            modules: installed,
            contexts: [
              { expression: "/srv/x", type: "svirt_fd_ro_t" },
              { expression: "/srv/y", type: "virt_image_t" },
            ],
          },
        },
        /^a rule of semanage fcontext gives \/srv\/x .* \| semanage fcontext -d '\/srv\/x'$/,
      ],
    ] as [string, Partial<Present>, RegExp][]
  ) {
    it(`is refused for ${what}, with what to do`, () => {
      const told = obstacles(more);
      assert.equal(told.length, 1);
      assert.match(told[0]!, line);
    });
  }

  it("takes images for no obstacle when they are relabelled first", () => {
    assert.deepEqual(obstacles({ images: [image] }, true), []);
  });

  it("names an agent by its guest where it has one", () => {
    assert.equal(obstacles({ guests: ["web1"], agents: [812] }).length, 1);
  });

  it("builds the policy anew where the store has none and the kernel still has", () => {
    const store = { modules: [], contexts: [] };
    assert(removesPolicy(present({ store })));
    assert.match(describeRemoval(present({ store })).join("\n"), /built anew/);
    assert(!removesPolicy(present({ store, isLoaded: false })));
    assert.match(
      describeRemoval(present({ store, isLoaded: false })).join("\n"),
      /^nothing to do: none of the modules is installed$/,
    );
  });
});
