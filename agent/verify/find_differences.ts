import type { Layer } from "../image/layer.ts";
import { classOf } from "../label/assign.ts";
import { type Context, formatContext } from "../label/context.ts";
import type { StorageClass } from "../label/mount.ts";
import type { Policy } from "../policy/live.ts";
import { differences, expectedOfOwn, forbiddenOf } from "./expected.ts";
import { askOther, expectedOfOther, type OtherVerdict } from "./other_guest.ts";
import { type Difference, otherDifference, ownDifference } from "./promise.ts";
import type { Verdict } from "./verdict.ts";

/** What other guests could do with one file, by their context, and all that is not as it has to be. */
export interface Found {
  readonly others: Readonly<Record<string, OtherVerdict>>;
  readonly differences: readonly Difference[];
}

/** What has to be known of a file besides its label. */
export interface FileOfGuest {
  readonly layer: Pick<Layer, "path" | "access" | "shared" | "privateNode">;
  readonly storage: Pick<StorageClass, "keepsLabels">;
}

/** Compares one file's verdict with what is expected, and asks the policy what the verdict leaves out. */
export function findDifferences(
  guest: Context,
  label: Context,
  { layer, storage }: FileOfGuest,
  verdict: Verdict,
  others: readonly Context[],
  policy: Policy,
): Found {
  const { access, shared } = layer;
  const { keepsLabels } = storage;
  const expected = expectedOfOwn(access);
  const own = differences(verdict, expected).map((key) =>
    ownDifference(key, verdict[key], expected[key], guest, label, layer)
  );
  const fileClass = classOf(layer);
  const { decide } = policy.access(guest, label, fileClass);
  const beyond = (keepsLabels ? forbiddenOf(access) : [])
    .map((permission) => ({ permission, decision: decide(permission) }))
    .filter(({ decision }) => decision.answer !== "denied")
    .map(({ permission, decision }) =>
      ownDifference(permission, decision, "denied", guest, label, layer)
    );
  const asked = others.map((other) => ({
    other,
    verdict: askOther(other, label, policy, fileClass),
  }));
  const expectedOfThem = expectedOfOther(keepsLabels, shared);
  const theirs = asked.flatMap(({ other, verdict }) => {
    const keys = differences(verdict, expectedOfThem);
    return keys.length === 0 ? [] : [otherDifference(keys, other, label, layer)];
  });
  return {
    others: Object.fromEntries(asked.map(({ other, verdict }) => [formatContext(other), verdict])),
    differences: [...own, ...beyond, ...theirs],
  };
}
