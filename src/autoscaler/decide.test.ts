import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decide, Scaler } from "./decide.ts";
import type { PolicyName, Sample, ScaleSpec } from "./scale.ts";
import { POLICIES, scaleProblem, scaleSpec } from "./scale.ts";

const IDLE: Sample = {
  at: 0,
  arrivals: 0,
  completed: 0,
  waiting: 0,
  running: 0,
  inFlight: 0,
  pods: 0,
  readyPods: 0,
  responseMs: 0,
  serviceMs: 0,
  utilisation: 0,
};

const anyNumber = fc.double({ min: -10, max: 1e6, noNaN: false });

const anySample = fc.record({
  arrivals: anyNumber,
  completed: anyNumber,
  waiting: anyNumber,
  running: anyNumber,
  inFlight: anyNumber,
  pods: fc.nat(200),
  readyPods: fc.nat(200),
  responseMs: anyNumber,
  serviceMs: anyNumber,
  utilisation: anyNumber,
});

const anySpec = fc
  .record({
    policy: fc.constantFrom<PolicyName>(...POLICIES),
    min: fc.nat(5),
    max: fc.integer({ min: 5, max: 50 }),
    targetMs: fc.integer({ min: 1, max: 5_000 }),
    coolDownMs: fc.nat(20_000),
    slotsPerPod: fc.integer({ min: 1, max: 20 }),
    startDelayMs: fc.nat(5_000),
    seasonMs: fc.constantFrom(0, 10_000),
  })
  .map((options): ScaleSpec => scaleSpec(options));

describe("decide", () => {
  it("never leaves the bounds, whatever is measured", () => {
    fc.assert(
      fc.property(anySpec, fc.array(anySample, { maxLength: 60 }), fc.integer({ min: 1, max: 20_000 }), (spec, measured, spanMs) => {
        const scaler = new Scaler(spec, 0);
        for (const [i, sample] of measured.entries()) {
          const { pods, reason, forecast } = scaler.decide({ ...sample, at: (i + 1) * spanMs });
          expect(Number.isInteger(pods)).toBe(true);
          expect(pods).toBeGreaterThanOrEqual(spec.min);
          expect(pods).toBeLessThanOrEqual(spec.max);
          expect(reason).not.toMatch(/NaN|Infinity|undefined/);
          expect(Object.values(forecast).every((value) => Number.isFinite(value) && value >= 0)).toBe(true);
        }
      }),
      { numRuns: 300 },
    );
  });

  it("ends at the least when nothing comes any more", () => {
    fc.assert(
      fc.property(anySpec, fc.array(anySample, { maxLength: 20 }), (spec, measured) => {
        const scaler = new Scaler(spec, 0);
        let at = 0;
        let pods = 0;
        for (const sample of measured) {
          at += 1_000;
          pods = scaler.decide({ ...sample, at }).pods;
        }
        // The threshold goes down one pod per cool-down; the pods are those that were decided, as on a platform.
        const quietMs = 400_000 + spec.max * (spec.coolDownMs + 2_000);
        for (const until = at + quietMs; at < until; at += 1_000) {
          pods = scaler.decide({ ...IDLE, at: at + 1_000, pods, readyPods: pods }).pods;
        }
        expect(pods).toBe(spec.policy === "hpa" ? Math.max(1, spec.min) : spec.min);
      }),
      { numRuns: 40 },
    );
  });

  it("comes to the same decision from the same samples, and from one step after another", () => {
    const spec = scaleSpec();
    const samples = Array.from(
      { length: 50 },
      (_, i): Sample => ({ ...IDLE, at: (i + 1) * 1_000, arrivals: i % 7, waiting: i % 5, pods: 2, readyPods: 2 }),
    );
    const scaler = new Scaler(spec, 0);
    const last = samples.map((sample) => scaler.decide(sample)).at(-1);
    expect(decide(spec, samples, 50_000)).toEqual(last);
    expect(decide(spec, samples, 50_000)).toEqual(decide(spec, samples, 50_000));
  });

  it("looks at no sample that lies ahead", () => {
    const samples = [IDLE, { ...IDLE, at: 1_000, arrivals: 1_000, waiting: 1_000 }];
    expect(decide(scaleSpec(), samples, 500).pods).toBe(0);
    expect(decide(scaleSpec(), samples, 1_000).pods).toBeGreaterThan(1);
  });

  it("decides on the least without samples", () => {
    expect(decide(scaleSpec({ min: 3 }), [], 0)).toMatchObject({ pods: 3, reason: "nothing is measured yet" });
  });

  it("begins anew with another policy", () => {
    const scaler = new Scaler(scaleSpec({ policy: "kpa" }), 0);
    scaler.decide({ ...IDLE, at: 1_000, waiting: 9, pods: 1, readyPods: 1 });
    scaler.configure(scaleSpec({ policy: "threshold" }));
    expect(scaler.decide({ ...IDLE, at: 2_000, waiting: 9, pods: 1, readyPods: 1 })).toMatchObject({
      pods: 2,
      reason: expect.stringMatching(/layer/),
    });
  });
});

describe("a specification", () => {
  it("is right with all defaults", () => {
    expect(scaleProblem(scaleSpec())).toBeUndefined();
  });

  it.each([
    [{ min: 5, max: 4 }, "min (5) must not be above max (4)"],
    [{ max: 0 }, "max must be a whole number from 1 to 10000, not 0"],
    [{ targetMs: Number.NaN }, "targetMs must be a number from 1 to 604800000, not NaN"],
    [{ policy: "best" as PolicyName }, "policy must be one of predictive, threshold, kpa, hpa, not best"],
  ])("%j is wrong, and it says where", (options, problem) => {
    expect(scaleProblem(scaleSpec(options))).toBe(problem);
  });
});
