import { describe, expect, it } from "vitest";
import { Scaler } from "./decide.ts";
import type { Decision, Sample, ScaleSpec } from "./scale.ts";
import { scaleSpec } from "./scale.ts";

const sampleOf = (at: number, fields: Partial<Sample>): Sample => ({
  at,
  arrivals: 0,
  completed: 0,
  waiting: 0,
  running: 0,
  inFlight: (fields.waiting ?? 0) + (fields.running ?? 0),
  pods: fields.readyPods ?? 0,
  readyPods: 0,
  responseMs: 0,
  serviceMs: 0,
  utilisation: 0,
  ...fields,
});

/** Decides at each of the times; pods are what was decided, and ready at once. */
class Follower {
  readonly #scaler: Scaler;
  pods: number;

  constructor(options: Partial<ScaleSpec>, pods = 0) {
    this.#scaler = new Scaler(scaleSpec(options), 0);
    this.pods = pods;
  }

  decide(at: number, fields: Partial<Sample>): Decision {
    const decision = this.#scaler.decide(sampleOf(at, { pods: this.pods, readyPods: this.pods, ...fields }));
    this.pods = decision.pods;
    return decision;
  }
}

describe("threshold", () => {
  it("adds one pod at each look while the layer is longer than 4", () => {
    const follower = new Follower({ policy: "threshold" }, 1);
    expect(follower.decide(1_000, { waiting: 4, running: 1 }).pods).toBe(1);
    expect(follower.decide(2_000, { waiting: 5, running: 1 }).pods).toBe(2);
    expect(follower.decide(3_000, { waiting: 500, running: 2 }).pods).toBe(3);
  });

  it("takes one pod away after each cool-down in which it was idle", () => {
    const follower = new Follower({ policy: "threshold", coolDownMs: 10_000 }, 3);
    const seen = [1, 6, 11, 16, 21, 26, 31].map((s) => follower.decide(s * 1_000, { running: 0 }).pods);
    expect(seen).toEqual([3, 3, 2, 2, 1, 1, 0]);
  });

  it("begins the cool-down anew when all pods are busy in between", () => {
    const follower = new Follower({ policy: "threshold", coolDownMs: 10_000 }, 2);
    follower.decide(1_000, { running: 1 });
    follower.decide(9_000, { running: 2 });
    expect(follower.decide(12_000, { running: 1 }).pods).toBe(2);
    expect(follower.decide(22_000, { running: 1 }).pods).toBe(1);
  });
});

describe("kpa", () => {
  const every2s = (follower: Follower, from: number, to: number, inFlight: (at: number) => number): number[] => {
    const seen: number[] = [];
    for (let at = from; at <= to; at += 2_000)
      seen.push(follower.decide(at, { inFlight: inFlight(at), running: Math.round(inFlight(at)) }).pods);
    return seen;
  };

  it("has a pod for each 70 % of its slots in the stable window", () => {
    const follower = new Follower({ policy: "kpa", slotsPerPod: 10 }, 5);
    // 35 in flight, 7 a pod.
    expect(every2s(follower, 2_000, 70_000, () => 35).at(-1)).toBe(5);
  });

  it("panics at twice what the pods can do, and does not go down for 60 s", () => {
    const follower = new Follower({ policy: "kpa" }, 2);
    every2s(follower, 2_000, 60_000, () => 1.4);
    expect(follower.pods).toBe(2);
    // The panic window's three samples: 1.4, 1.4, 21 → 7.9 / 0.7.
    expect(follower.decide(62_000, { inFlight: 21, running: 21 })).toMatchObject({ pods: 12, reason: expect.stringMatching(/^panic/) });
    expect(Math.min(...every2s(follower, 64_000, 122_000, () => 1.4))).toBe(12);
    expect(every2s(follower, 124_000, 130_000, () => 1.4).at(-1)).toBeLessThan(12);
  });

  it("counts time and not samples: looks are more frequent while calls wait", () => {
    const follower = new Follower({ policy: "kpa", slotsPerPod: 10 }, 5);
    // Half of the time 70 in flight, measured ten times as often as the 0 of the other half.
    for (let at = 2_000; at <= 62_000; at += 2_000) {
      for (let part = 1; part <= 10; part++) follower.decide(at + part * 100, { inFlight: 70, running: 50 });
      follower.decide(at + 2_000, { inFlight: 0 });
    }
    expect(follower.decide(66_000, { inFlight: 0 }).reason).toMatch(/concurrency 3\d\.\d over 60 s/);
  });

  it("at most halves the pods at a look", () => {
    const follower = new Follower({ policy: "kpa" }, 16);
    expect(every2s(follower, 2_000, 8_000, () => 0.5)).toEqual([8, 4, 2, 1]);
  });

  it("goes to zero after a stable window without calls, and comes back with the first call", () => {
    const follower = new Follower({ policy: "kpa" }, 1);
    follower.decide(2_000, { inFlight: 0.5, running: 1 });
    const seen = every2s(follower, 4_000, 70_000, () => 0);
    // The last sample with a call leaves the window at 62 s.
    expect(seen.indexOf(0)).toBe((62_000 - 4_000) / 2_000);
    expect(follower.decide(70_100, { waiting: 1 }).pods).toBeGreaterThanOrEqual(1);
  });

  it("looks every 2 s and not more often", () => {
    const follower = new Follower({ policy: "kpa" }, 1);
    follower.decide(2_000, { inFlight: 0.5 });
    expect(follower.decide(3_000, { inFlight: 100 })).toMatchObject({ pods: 1, reason: "between two looks" });
    expect(follower.decide(4_000, { inFlight: 100 }).pods).toBeGreaterThan(1);
  });
});

describe("hpa", () => {
  const sync = (follower: Follower, at: number, utilisation: number): number => follower.decide(at, { utilisation }).pods;

  it("has pods in proportion to utilisation, rounded up", () => {
    const follower = new Follower({ policy: "hpa" }, 4);
    expect(sync(follower, 15_000, 0.9)).toBe(6); // 4 · 0.9 / 0.7 = 5.14
  });

  it("leaves what is within a tenth of the target", () => {
    const follower = new Follower({ policy: "hpa" }, 4);
    expect(sync(follower, 15_000, 0.76)).toBe(4);
    expect(sync(follower, 30_000, 0.78)).toBe(5);
  });

  it("at most doubles, or adds four, in 15 s", () => {
    const follower = new Follower({ policy: "hpa", targetUtilisation: 0.05 }, 1);
    expect([15, 30, 45].map((s) => sync(follower, s * 1_000, 1))).toEqual([5, 10, 20]);
  });

  it("goes down to the most that was recommended within 5 minutes, and never to zero", () => {
    const follower = new Follower({ policy: "hpa" }, 10);
    const seen = Array.from({ length: 22 }, (_, i) => sync(follower, (i + 1) * 15_000, 0));
    expect(seen.indexOf(1)).toBe(20);
    expect(seen.at(-1)).toBe(1);
  });

  it("counts pods that aren't ready as idle on the way up", () => {
    const scaler = new Scaler(scaleSpec({ policy: "hpa" }), 0);
    expect(scaler.decide(sampleOf(15_000, { pods: 4, readyPods: 2, utilisation: 1 })).pods).toBe(4);
  });

  it("acts every 15 s, on the mean of that time", () => {
    const follower = new Follower({ policy: "hpa" }, 2);
    follower.decide(1_000, { utilisation: 0.7 });
    expect(follower.decide(9_000, { utilisation: 1 }).reason).toBe("between two syncs");
    expect(follower.decide(16_000, { utilisation: 0.4 }).pods).toBe(2);
  });
});
