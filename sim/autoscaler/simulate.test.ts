import { describe, expect, it } from "vitest";
import { POLICIES, scaleSpec } from "../../src/autoscaler/scale.ts";
import { readArguments } from "./arguments.ts";
import { plotOf } from "./plot.ts";
import type { Options } from "./simulate.ts";
import { simulate } from "./simulate.ts";
import { parseTrace } from "./trace.ts";
import { GENERATORS, generate, scaled } from "./workload.ts";

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
    ["", 't.csv: there is no line "timestamp-or-index,count" in it'],
    ["a,b\nc,d\n", 't.csv, line 2: "c,d" is not "timestamp-or-index,count" with a count of 0 or more'],
    ["0,5\n1,-2\n", 't.csv, line 2: "1,-2" is not "timestamp-or-index,count" with a count of 0 or more'],
    ["0;5\n1;6\n", 't.csv, line 2: "1;6" is not "timestamp-or-index,count" with a count of 0 or more'],
  ])("that is no trace is refused: %j", (text, message) => {
    expect(() => parseTrace("t.csv", text, 60_000)).toThrow(message);
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
