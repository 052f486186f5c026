import { describe, expect, test } from "vitest";
import { createStepClock } from "../testing/step-clock.ts";
import { Callees } from "./callees.ts";
import { Preloads } from "./preloads.ts";

describe("the callees of a coordinator", () => {
  test("are those that its runs have called, the most frequent first", () => {
    const callees = new Callees();
    expect(callees.likely("order")).toEqual([]);
    for (const fn of ["ship", "pay", "pay"]) callees.note("order", fn);
    callees.note("other", "never");
    expect(callees.likely("order")).toEqual(["pay", "ship"]);
  });

  test("that are called rarely are not likely", () => {
    const callees = new Callees();
    callees.note("order", "refund");
    for (let i = 0; i < 20; i++) callees.note("order", "pay");
    expect(callees.likely("order")).toEqual(["pay"]);
  });

  test("fade when they are not called any more", () => {
    const callees = new Callees();
    for (let i = 0; i < 900; i++) callees.note("order", "old");
    for (let i = 0; i < 6_000; i++) callees.note("order", "new");
    expect(callees.likely("order")).toEqual(["new"]);
  });

  test("are bounded, however many names there are", () => {
    const callees = new Callees();
    for (let i = 0; i < 2_000; i++) callees.note(`coordinator-${i}`, "pay");
    for (let i = 0; i < 2_000; i++) callees.note("one", `fn-${i}`);
    expect(callees.size).toBe(500);
    expect(callees.likely("one").length).toBeLessThanOrEqual(32);
    expect(callees.likely("coordinator-0")).toEqual([]);
  });
});

describe("preloads", () => {
  test("are asked for when a run begins whose usual callees have no pods, once a second at most", () => {
    const clock = createStepClock(1_000);
    const asked: unknown[] = [];
    const withPods = new Set(["pay"]);
    const preloads = new Preloads({
      clock,
      fleet: { preload: (path, count) => void asked.push([path, count]) },
      takesWarm: (fn, version) => version === "v1" && !withPods.has(fn),
      pathOf: (version) => `/bundles/${version}`,
    });
    preloads.begins("order", "v1");
    for (const fn of ["pay", "ship", "tell"]) preloads.called("order", fn);
    preloads.begins("order", "v1");
    expect(asked).toEqual([]);
    clock.advance(1_000);
    preloads.begins("order", "v1");
    preloads.begins("order", "v1");
    expect(asked).toEqual([["/bundles/v1", 2]]);
    withPods.add("ship").add("tell");
    clock.advance(1_000);
    preloads.begins("order", "v1");
    expect(asked).toHaveLength(1);
  });
});
