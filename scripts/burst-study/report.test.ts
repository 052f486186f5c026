import { describe, expect, it } from "vitest";
import { calls } from "./bursts.ts";
import { plotOf } from "./plot.ts";
import type { Recording } from "./recording.ts";
import { figuresOf, missingIn, summaryOf, timelineOf } from "./report.ts";

const burst = calls({ count: 4, slots: 1, pods: 2 }, 50);
const sample = { at: 10, waiting: 3, running: 1, ready: 1, starting: 1, mostOfOne: 2 };
const activation = { at: 1, function: "work", from: 0, pods: 1, reason: "activation: a call waits and there is no pod" };
const rise = { at: 20, function: "work", from: 1, pods: 2, reason: "a backlog of 3 expected" };
const release = { at: 2_200, function: "work", from: 2, pods: 0, reason: "no traffic for 2000 ms" };

const recording: Recording = {
  coldStartsMs: [9, 12, 10],
  samples: [sample, { ...sample, at: 2_210, waiting: 0, running: 0, ready: 0, starting: 0, mostOfOne: 0 }],
  decisions: [activation, rise, release],
  acceptedAt: [5, 5, 6, 6],
  finishedAt: [60, 90, 110, 140],
  wrong: [],
  emptyAt: 2_210,
};

describe("what a burst must show", () => {
  it("is shown by one that was served in order", () => {
    expect(missingIn(burst, recording)).toEqual([]);
  });

  it.each<[string, Partial<Recording>, RegExp]>([
    ["a wrong answer", { wrong: ["run_1 gave 3 instead of 4"] }, /1 of 4 answers/],
    ["an answer that did not come", { finishedAt: [60, 90, 110] }, /not every one of 4/],
    ["layers that did not grow", { samples: [{ ...sample, waiting: 0 }] }, /no layer grew/],
    ["more pods than there may be", { samples: [{ ...sample, mostOfOne: 3 }] }, /more than its 2 pods/],
    ["pods that were not added", { decisions: [activation, { ...release, from: 1 }] }, /no function got a second pod/],
    ["a first decision that was no activation", { decisions: [rise, release] }, /was not the activation/],
    ["a decision that did not follow the one before", { decisions: [activation, { ...rise, from: 2 }, release] }, /don't follow/],
    ["pods that stayed", { decisions: [activation, rise] }, /last decision was not to let all pods go/],
    ["pods that went while calls came", { decisions: [activation, rise, { ...release, reason: "12 calls/s" }] }, /although calls came/],
    ["pods that were gone before the last answer", { emptyAt: 100 }, /not gone after/],
  ])("is missed with %s", (_, change, message) => {
    expect(missingIn(burst, { ...recording, ...change }).join("\n")).toMatch(message);
  });
});

describe("the report of a burst", () => {
  it("sets what the backlog took beside what its pods need, and the cold start beside its goal", () => {
    const figures = figuresOf(burst, recording);
    expect(figures).toMatchObject({
      coldStartMs: 10,
      firstResultMs: 60,
      servedMs: 140,
      capacityMs: 100,
      mostWaiting: 3,
      emptyAfterMs: 2_070,
    });
    const text = summaryOf(figures, true).join("\n");
    expect(text).toMatch(/one call alone +10 ms .*goal 12 ms: reached/);
    expect(text).toMatch(/backlog gone +140 ms \(its pods need 100 ms; goal 600 ms: reached\)/);
    expect(summaryOf({ ...figures, servedMs: 601 }, true).join("\n")).toMatch(/goal 600 ms: not reached/);
  });

  it("has decisions between the samples, in the order of time", () => {
    expect(timelineOf(recording).map((line) => line.trim().replaceAll(/ +/g, " "))).toEqual([
      "seconds answered waiting running pods",
      "0.00 work 0 → 1: activation: a call waits and there is no pod",
      "0.01 0 3 1 1+1",
      "0.02 work 1 → 2: a backlog of 3 expected",
      "2.20 work 2 → 0: no traffic for 2000 ms",
      "2.21 4 0 0 0",
    ]);
  });

  it("is drawn without gaps", () => {
    const svg = plotOf("<burst>", recording);
    expect(svg).toMatch(/^<svg .*&lt;burst>.*<\/svg>\n$/s);
    expect(svg).not.toMatch(/NaN|Infinity/);
  });
});
