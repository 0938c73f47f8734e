import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { onStep, reach } from "../../agent/io/step.ts";

describe("onStep", () => {
  it("hears every step in order, until it is stopped", () => {
    const heard: string[] = [];
    const stop = onStep((operation, step) => heard.push(`${operation}: ${step}`));
    reach("attach", "open");
    reach("attach", "label");
    stop();
    reach("attach", "pass");
    assert.deepEqual(heard, ["attach: open", "attach: label"]);
  });

  it("lets several hear, each in its turn", () => {
    const heard: string[] = [];
    const stops = ["one", "two"].map((who) => onStep(() => heard.push(who)));
    reach("attach", "open");
    stops[0]!();
    reach("attach", "label");
    stops[1]!();
    assert.deepEqual(heard, ["one", "two", "two"]);
  });

  it("is heard before reach returns: a crash test dies exactly behind the step", () => {
    let heard = false;
    const stop = onStep(() => void (heard = true));
    reach("attach", "open");
    assert(heard);
    stop();
  });

  it("reaching a step that nobody hears of is nothing", () => reach("attach", "open"));
});
