import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { AlertSpec } from "../protocol/application.ts";
import { type AlertEvent, Alerts, type Measured } from "./alerts.ts";

const slow: AlertSpec = { name: "slow", function: "pay", durationMs: 100, windowMs: 60_000, least: 3 };

const watching = (...specs: AlertSpec[]): Alerts => {
  const alerts = new Alerts();
  alerts.configure(specs);
  return alerts;
};

const ran = (at: number, parts: Partial<Measured> = {}): Measured => ({ at, durationMs: 10, memoryMb: 50, failed: false, ...parts });

/** What was raised and cleared, as `raised durationMs 150`. */
const told = (events: readonly AlertEvent[]): string[] => events.map(({ type, measure, value }) => `${type.slice(6)} ${measure} ${value}`);

describe("an alert", () => {
  test("is raised once when the average duration of the window's executions is beyond its bound, and cleared when it is back", () => {
    const alerts = watching(slow);
    const durations = [150, 150, 150, 200, 10, 10, 10, 10];
    expect(durations.map((durationMs, at) => told(alerts.observe("pay", ran(at, { durationMs }))))).toEqual([
      [],
      [],
      ["raised durationMs 150"],
      [],
      [],
      [],
      ["cleared durationMs 97.143"],
      [],
    ]);
    expect(alerts.observe("pay", ran(9, { durationMs: 5_000 }))).toEqual([
      { type: "alert.raised", alert: "slow", function: "pay", measure: "durationMs", value: 632.222, bound: 100 },
    ]);
  });

  test("waits for as many executions as it needs to be sure", () => {
    const failing: AlertSpec = { name: "failing", function: "pay", errorRate: 0.5 };
    const alerts = watching(failing);
    const events = [1, 2, 3, 4, 5].map((at) => told(alerts.observe("pay", ran(at, { failed: true }))));
    expect(events).toEqual([[], [], [], [], ["raised errorRate 1"]]);
  });

  test("tells of each measure for itself", () => {
    const alerts = watching({ ...slow, memoryMb: 200, errorRate: 0.4, least: 1 });
    expect(told(alerts.observe("pay", ran(0, { durationMs: 500, memoryMb: 300, failed: true })))).toEqual([
      "raised durationMs 500",
      "raised memoryMb 300",
      "raised errorRate 1",
    ]);
    expect(told(alerts.observe("pay", ran(1, { durationMs: 600 })))).toEqual([]);
    expect(told(alerts.observe("pay", ran(2)))).toEqual(["cleared errorRate 0.333"]);
    // The peak stays a peak for as long as the window holds it, and what was slow takes its time to fade.
    expect(told(alerts.observe("pay", ran(59_000)))).toEqual([]);
    expect(told(alerts.observe("pay", ran(61_000)))).toEqual(["cleared durationMs 10", "cleared memoryMb 50"]);
  });

  test("is about its own function", () => {
    const alerts = watching({ ...slow, least: 1 });
    expect(alerts.observe("ship", ran(0, { durationMs: 5_000 }))).toEqual([]);
    expect(alerts.isRaised).toBe(false);
  });

  test("is cleared when nothing executes any more", () => {
    const alerts = watching({ ...slow, least: 1 });
    alerts.observe("pay", ran(0, { durationMs: 500 }));
    expect(alerts.isRaised).toBe(true);
    expect(told(alerts.sweep(57_000))).toEqual([]);
    expect(told(alerts.sweep(60_000))).toEqual(["cleared durationMs 0"]);
    expect(told(alerts.sweep(70_000))).toEqual([]);
  });

  test("keeps its window over a deployment that leaves it as it is, and ends with one that drops or changes it", () => {
    const alerts = watching({ ...slow, least: 1 });
    alerts.observe("pay", ran(0, { durationMs: 500 }));
    expect(alerts.configure([{ ...slow, least: 1 }])).toEqual([]);
    expect(alerts.isRaised).toBe(true);
    expect(told(alerts.configure([{ ...slow, least: 2 }]))).toEqual(["cleared durationMs 0"]);
    expect(alerts.isEmpty).toBe(false);
    alerts.configure([]);
    expect(alerts.isEmpty).toBe(true);
  });
});

/** What a window of whole slots holds, by looking at every execution again. */
const expected = (spec: AlertSpec, history: readonly Measured[], now: number): Record<string, number> => {
  const slotMs = (spec.windowMs ?? 60_000) / 30;
  const slot = (at: number): number => Math.floor(at / slotMs);
  const held = history.filter(({ at }) => slot(at) > slot(now) - 30);
  const sum = (of: (run: Measured) => number): number => held.reduce((total, run) => total + of(run), 0);
  const mean = (total: number): number => (held.length === 0 ? 0 : Math.round((total / held.length) * 1000) / 1000);
  return {
    durationMs: mean(sum(({ durationMs }) => durationMs)),
    memoryMb: Math.max(0, ...held.map(({ memoryMb }) => memoryMb)),
    errorRate: mean(sum(({ failed }) => (failed ? 1 : 0))),
    count: held.length,
  };
};

/** Keeps `raised` by the events, each of which must change it and tell the value. */
const follow = (events: readonly AlertEvent[], raised: Set<string>, values: Record<string, number>): void => {
  for (const { type, measure, value } of events) {
    expect(value).toBe(values[measure]);
    expect(raised.has(measure)).toBe(type === "alert.cleared");
    if (type === "alert.raised") raised.add(measure);
    else raised.delete(measure);
  }
};

const checkRaised = (spec: AlertSpec, raised: ReadonlySet<string>, values: Record<string, number>): void => {
  for (const measure of ["durationMs", "memoryMb", "errorRate"] as const) {
    const isBeyond = (values[measure] ?? 0) > (spec[measure] ?? 0);
    if (!isBeyond) expect(raised.has(measure)).toBe(false);
    else if ((values.count ?? 0) >= (spec.least ?? 5)) expect(raised.has(measure)).toBe(true);
  }
};

test("what is raised is what the executions of the window say, whatever happened", () => {
  const spec: AlertSpec = { name: "all", function: "pay", durationMs: 50, memoryMb: 80, errorRate: 0.3, windowMs: 3_000, least: 3 };
  const step = fc.record({
    afterMs: fc.oneof(fc.nat({ max: 50 }), fc.nat({ max: 4_000 })),
    durationMs: fc.integer({ min: 0, max: 100 }),
    memoryMb: fc.integer({ min: 0, max: 100 }),
    failed: fc.boolean(),
    sweep: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const alerts = watching(spec);
      const history: Measured[] = [];
      const raised = new Set<string>();
      let now = 1_000_000;
      for (const { afterMs, sweep, ...measured } of steps) {
        now += afterMs;
        if (!sweep) history.push({ at: now, ...measured });
        const values = expected(spec, history, now);
        follow(sweep ? alerts.sweep(now) : alerts.observe("pay", { at: now, ...measured }), raised, values);
        checkRaised(spec, raised, values);
      }
    }),
  );
});
