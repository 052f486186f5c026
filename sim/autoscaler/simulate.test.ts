import { describe, expect, it } from "vitest";
import { POLICIES, scaleSpec } from "../../src/autoscaler/scale.ts";
import { seeded } from "../../src/lib/random.ts";
import { readArguments } from "./arguments.ts";
import { HALVES, matrix, profiles, SPLIT } from "./matrix.ts";
import { compare, isBest, matrixTable } from "./matrix-report.ts";
import { plotOf } from "./plot.ts";
import type { Options } from "./simulate.ts";
import { simulate } from "./simulate.ts";
import { parseTrace } from "./trace.ts";
import { DISTRIBUTIONS, GENERATORS, generate, scaled, serviceTimes } from "./workload.ts";

const options = (fields: Partial<Options> = {}): Options => ({
  spec: scaleSpec(),
  seed: 1,
  serviceMs: 200,
  distribution: "constant",
  delayMs: 2,
  tickMs: 250,
  ...fields,
});

const LOAD = generate("on-off", { seed: 3, rate: 10, durationS: 300 });

describe("the simulator", () => {
  it.each(POLICIES)("gives the same for the same seed, and every call is answered: %s", (policy) => {
    const one = simulate(LOAD, options({ spec: scaleSpec({ policy }), distribution: "lognormal" }));
    expect(simulate(LOAD, options({ spec: scaleSpec({ policy }), distribution: "lognormal" }))).toEqual(one);
    expect(one.requests).toBe(LOAD.counts.reduce((sum, count) => sum + count, 0));
    expect(one.series.reduce((sum, point) => sum + point.late, 0)).toBe(one.late);
  });

  it("makes the first call wait for its pod, and the second one not", () => {
    const result = simulate({ name: "two", intervalMs: 5_000, counts: [1, 1] }, options());
    expect(result).toMatchObject({ requests: 2, late: 0, activations: 1, maxPods: 1 });
    expect(result.p99Ms / 702).toBeCloseTo(1, 1);
    expect(result.p50Ms / 202).toBeCloseTo(1, 1);
  });

  it("pays for pods from their start on", () => {
    const { podSeconds } = simulate(
      { name: "none", intervalMs: 1_000, counts: Array<number>(10).fill(0) },
      options({ spec: scaleSpec({ min: 2 }) }),
    );
    expect(podSeconds).toBeCloseTo(20);
  });

  it("serves a burst of 2,000 calls of 50 ms from no pods in about the time that its pods need", () => {
    const burst = { name: "burst", intervalMs: 100, counts: [2_000] };
    const { series, maxPods } = simulate(burst, options({ serviceMs: 50, spec: scaleSpec({ max: 20, startDelayMs: 10 }) }));
    const slowest = Math.max(...series.map((point) => point.maxMs));
    expect(maxPods).toBe(20);
    expect(slowest).toBeLessThan((2_000 * 50) / 20 + 500);
  });

  it.each(["burst", "on-off", "minutes"] as const)("finds predictive late least and cheapest where load is bursty: %s", (name) => {
    const load = generate(name, { seed: 1, rate: 20, durationS: 900 });
    const [own, ...others] = POLICIES.map((policy) => simulate(load, options({ spec: scaleSpec({ policy }), distribution: "lognormal" })));
    for (const other of others) {
      expect(own!.late, other.policy).toBeLessThan(other.late);
      expect(own!.podSeconds, other.policy).toBeLessThanOrEqual(other.podSeconds);
    }
  });

  it("finds that predictive holds pods for bursts that return, where they start slowly", () => {
    // A burst of 15 s every 45 s: what is learnt from the first ones shows in the last ones.
    const counts = Array.from({ length: 900 }, (_, s) => (s % 45 < 15 ? 40 : 2));
    const spec = scaleSpec({ startDelayMs: 5_000 });
    const { series } = simulate({ name: "again", intervalMs: 1_000, counts }, options({ spec, distribution: "lognormal" }));
    const lateIn = (from: number, to: number) => series.slice(from, to).reduce((sum, point) => sum + point.late, 0);
    expect(lateIn(0, 30)).toBeGreaterThan(100);
    expect(lateIn(200, 300)).toBeLessThan(0.05 * lateIn(0, 30));
  });

  it("draws any load and any policy", () => {
    const svg = plotOf("a <b>", [simulate(LOAD, options())], 1_000);
    expect(svg).toMatch(/^<svg .*a &lt;b>.*<\/svg>\n$/s);
    expect(svg).not.toMatch(/NaN|Infinity/);
  });
});

describe("load", () => {
  it.each(GENERATORS)("%s is the same for the same seed and another for another", (name) => {
    const one = generate(name, { seed: 1, rate: 20, durationS: 600 });
    expect(generate(name, { seed: 1, rate: 20, durationS: 600 })).toEqual(one);
    expect(generate(name, { seed: 2, rate: 20, durationS: 600 })).not.toEqual(one);
    expect(one.counts.every((count) => Number.isInteger(count) && count >= 0)).toBe(true);
  });

  it("keeps its sum when it is scaled", () => {
    const counts = scaled({ name: "ones", intervalMs: 1_000, counts: Array<number>(10_000).fill(1) }, 0.3, 1).counts;
    expect(counts.reduce((sum, count) => sum + count, 0) / 3_000).toBeCloseTo(1, 1);
  });

  it.each([
    ["with a header", "index,count\n0,5\n1,7\n"],
    ["without", "2020-01-01 00:00:00,5\r\n2020-01-01 00:01:00,7"],
  ])("is read from a trace %s", (_, text) => {
    expect(parseTrace("t.csv", text, 60_000).counts).toEqual([5, 7]);
  });

  it.each([
    ["numbers", "0,5\n1,7\n4,1\n", [5, 7, 0, 0, 1]],
    ["dates", "2020-03-29 01:58:00,5\n2020-03-29 01:59:00,5\n2020-03-29 02:01:00,7\n", [5, 5, 0, 7]],
    ["other names", "a,5\nb,7\nb,1\n", [5, 7, 1]],
    ["uneven distances", "0,5\n1,7\n2.5,1\n", [5, 7, 1]],
  ])("has no calls in intervals that are left out: %s", (_, text, counts) => {
    expect(parseTrace("t.csv", text, 60_000).counts).toEqual(counts);
  });

  it("loses no part of a call", () => {
    const { counts } = scaled({ name: "halves", intervalMs: 1_000, counts: Array<number>(10_000).fill(0.5) }, 1, 1);
    expect(counts.every(Number.isInteger)).toBe(true);
    expect(counts.reduce((sum, count) => sum + count, 0) / 5_000).toBeCloseTo(1, 1);
  });

  it.each(DISTRIBUTIONS)("takes the mean time that is asked for: %s", (distribution) => {
    const draw = serviceTimes(distribution, 200, seeded(1));
    const times = Array.from({ length: 50_000 }, draw);
    expect(times.reduce((sum, each) => sum + each, 0) / 50_000 / 200).toBeCloseTo(1, 1);
  });

  it.each([
    ["", 't.csv: there is no line "timestamp-or-index,count" in it'],
    ["a,b\nc,d\n", 't.csv, line 2: "c,d" is not "timestamp-or-index,count" with a count of 0 or more'],
    ["0,5\n1,-2\n", 't.csv, line 2: "1,-2" is not "timestamp-or-index,count" with a count of 0 or more'],
    ["0,-2\n1,5\n", 't.csv, line 1: "0,-2" is not "timestamp-or-index,count" with a count of 0 or more'],
    ["0;5\n1;6\n", 't.csv, line 1: "0;5" is not "timestamp-or-index,count" with a count of 0 or more'],
  ])("that is no trace is refused: %j", (text, message) => {
    expect(() => parseTrace("t.csv", text, 60_000)).toThrow(message);
  });
});

describe("the matrix", () => {
  it("shares no shape and no seed between its halves, and leaves no shape out", () => {
    const [tuning, heldOut] = HALVES.map((half) => SPLIT[half].generators);
    expect([...tuning!, ...heldOut!].sort()).toEqual([...GENERATORS].sort());
    const seeds = HALVES.map((half) => SPLIT[half].seed);
    expect(Math.abs(seeds[0]! - seeds[1]!)).toBeGreaterThan(profiles().length);
  });

  it("simulates a trace's first half for tuning and its second one held out", () => {
    const counts = Array.from({ length: 80 }, (_, i) => (i < 40 ? 0 : 1));
    const trace = { name: "late", intervalMs: 60_000, counts };
    const named = (half: "tuning" | "held-out") => [...matrix(half, [trace], 60)].filter(({ load }) => load === "late").length;
    expect(named("tuning")).toBe(0);
    expect(named("held-out")).toBe(1);
  });

  it("compares late calls and pod-seconds", () => {
    const of = (late: number, podSeconds: number) => ({ requests: 1_000, late, unavoidable: 1, podSeconds, decisions: 1 });
    expect(compare(of(1, 100), of(2, 100.1))).toBe("dominates");
    expect(compare(of(2, 100.1), of(2, 100))).toBe("same");
    expect(compare(of(2, 200), of(2, 100))).toBe("isDominated");
    expect(compare(of(1, 200), of(2, 100))).toBe("buysFewerLate");
    expect(compare(of(3, 50), of(2, 100))).toBe("savesPods");
    const cell = (late: number) => ({
      load: "x",
      profile: profiles()[0]!,
      results: { predictive: of(late, 100), threshold: of(5, 100), kpa: of(4, 300), hpa: of(9, 120) },
    });
    expect([1, 3, 4].map((late) => isBest(cell(late), "predictive"))).toEqual([true, true, false]);
    expect(matrixTable([cell(3), cell(4)])).toContain("| all (2) | predictive | 1 |");
  });
});

describe("arguments", () => {
  it.each([
    [["--polcy", "kpa"], "Unknown option '--polcy'"],
    [["--policy", "best"], '--policy: there is no "best"; use predictive, threshold, kpa, hpa'],
    [["--service-ms", "fast"], '--service-ms must be a number from 0.001 to 1000000000, not "fast"'],
    [["--min", "9", "--max", "3"], "min (9) must not be above max (3)"],
    [["--trace", "a.csv", "--generator", "step"], "give --trace or --generator, not both"],
    [["--interval-s", "60"], "give --trace FILE too"],
    [["--seed", "1,x"], "--seed must be whole numbers"],
  ])("%j are refused", (argv, message) => {
    expect(() => readArguments(argv)).toThrow(message);
  });
});
