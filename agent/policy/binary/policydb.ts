import { Cursor, PolicyFormatError } from "./cursor.ts";
import { type HandleUnknown, readHeader } from "./header.ts";
import { type Conditional, readRules, type RuleTable } from "./rules.ts";
import { type PolicyBoolean, type PolicyClass, readSymbols, type Symbols } from "./symbols.ts";
import { skipToAttributes } from "./tail.ts";

/** User and role of the system's own processes. */
const SYSTEM_USER = "system_u";
const SYSTEM_ROLE = "system_r";
/** Of what is no process; every type goes with it. */
const OBJECT_ROLE = "object_r";

/** Whom a context belongs to. */
interface Holder {
  readonly user: string;
  readonly role: string;
}

/**
 * What stands in a binary policy: its symbols, and its access vector rules. It answers no question
 * about access: constraints are skipped, and libsepol or the kernel decides.
 */
export class PolicyDb {
  readonly version: number;
  /** Its contexts have levels. */
  readonly mls: boolean;
  readonly handleUnknown: HandleUnknown;
  readonly classes: ReadonlyMap<string, PolicyClass>;
  readonly booleans: readonly PolicyBoolean[];
  readonly rules: RuleTable;
  /** Rules before this one hold whatever booleans are. */
  readonly firstConditionalRule: number;
  readonly conditionals: readonly Conditional[];
  readonly #symbols: Symbols;
  readonly #permissive: ReadonlySet<number>;
  /** By the value of a type: its own and those of its attributes. */
  readonly #groups: readonly (readonly number[])[];
  /** By the value of a type. */
  #holders: ReadonlyMap<number, Holder> | undefined;
  /** By the value of an attribute. */
  #members: ReadonlyMap<number, readonly string[]> | undefined;

  /**
   * @param bytes A file of policy, or what /sys/fs/selinux/policy has; nothing of it is kept.
   * @throws `PolicyFormatError` when it is none, or of a version that is not known here.
   */
  constructor(bytes: Uint8Array) {
    const cursor = new Cursor(bytes);
    const { version, mls, handleUnknown, permissive, contextTables } = readHeader(cursor);
    this.#symbols = readSymbols(cursor, version);
    const { rules, conditionals } = readRules(cursor);
    requireClasses(rules, this.#symbols.classes.values());
    skipToAttributes(cursor, version, contextTables);
    const { types, classes, booleans } = this.#symbols;
    this.#groups = types.map((_, value) => value === 0 ? [] : cursor.bitmap());
    if (cursor.at !== bytes.length) cursor.fail("the file goes on after its end");
    this.#permissive = permissive;
    this.version = version;
    this.mls = mls;
    this.handleUnknown = handleUnknown;
    this.classes = classes;
    this.booleans = booleans;
    this.rules = rules;
    const first = rules.conditional.findIndex((conditional) => conditional >= 0);
    this.firstConditionalRule = first < 0 ? rules.length : first;
    this.conditionals = conditionals;
  }

  /** Every type, without attributes. */
  types(): string[] {
    return this.#symbols.types.flatMap((it) => it === undefined || it.isAttribute ? [] : it.name);
  }

  attributes(): string[] {
    return this.#symbols.types.flatMap((it) => it?.isAttribute ? it.name : []);
  }

  /** Value of a type, alias or attribute, as rules have it; `undefined` when there is none. */
  valueOf(type: string): number | undefined {
    return this.#symbols.typeValues.get(type);
  }

  /** Name of a type or attribute. */
  nameOf(value: number): string {
    return this.#symbols.types[value]?.name ?? `type ${value}`;
  }

  /** The types that a name stands for: those of an attribute, or itself. `undefined`: no such name. */
  expand(name: string): readonly string[] | undefined {
    const value = this.valueOf(name);
    if (value === undefined) return undefined;
    if (!this.#symbols.types[value]?.isAttribute) return [this.nameOf(value)];
    this.#members ??= this.#membersOfAttributes();
    return this.#members.get(value) ?? [];
  }

  /** Name of a role. */
  roleOf(value: number): string {
    return this.#symbols.roles.find((it) => it.value === value)?.name ?? `role ${value}`;
  }

  /** Name of an SELinux user. */
  userOf(value: number): string {
    return this.#symbols.users.find((it) => it.value === value)?.name ?? `user ${value}`;
  }

  /** Values under which rules may name a type: its own, and those of its attributes. */
  groupsOf(value: number): readonly number[] {
    return this.#groups[value] ?? [];
  }

  /** User and role of a context that the policy accepts with this type; system_u's before others'. */
  holderOf(type: string): Holder {
    this.#holders ??= this.#holdersOfTypes();
    return this.#holders.get(this.valueOf(type) ?? -1) ?? { user: SYSTEM_USER, role: OBJECT_ROLE };
  }

  isPermissive(type: string): boolean {
    return this.#permissive.has(this.valueOf(type) ?? -1);
  }

  #membersOfAttributes(): ReadonlyMap<number, readonly string[]> {
    const members = new Map<number, string[]>();
    for (const [value, groups] of this.#groups.entries()) {
      const type = this.#symbols.types[value];
      if (type === undefined || type.isAttribute) continue;
      for (const group of groups) {
        if (group === value) continue;
        const of = members.get(group);
        if (of === undefined) members.set(group, [type.name]);
        else of.push(type.name);
      }
    }
    return members;
  }

  #holdersOfTypes(): ReadonlyMap<number, Holder> {
    const holders = new Map<number, Holder>();
    const { users, roles } = this.#symbols;
    // What is set last counts.
    const ranked = (name: string) => name === SYSTEM_ROLE || name === SYSTEM_USER ? 1 : 0;
    for (const user of [...users].sort((a, b) => ranked(a.name) - ranked(b.name))) {
      const its = roles.filter(({ name, value }) =>
        name !== OBJECT_ROLE && user.roles.includes(value)
      );
      for (const { name: role, types } of its.sort((a, b) => ranked(a.name) - ranked(b.name))) {
        for (const type of types) holders.set(type, { user: user.name, role });
      }
    }
    return holders;
  }
}

function requireClasses({ length, tclass }: RuleTable, classes: Iterable<PolicyClass>): void {
  const known = new Uint8Array(1 << 16);
  for (const { value } of classes) known[value] = 1;
  for (let rule = 0; rule < length; rule++) {
    if (known[tclass[rule]!] === 1) continue;
    throw new PolicyFormatError(`rule ${rule} is about class number ${tclass[rule]}: it has none`);
  }
}
