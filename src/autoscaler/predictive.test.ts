import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { seeded } from "../lib/random.ts";
import { arrivalsStart, forecastArrivals, observeArrivals } from "./arrivals.ts";
import { Scaler } from "./decide.ts";
import { Erlang, longerThan, podsWorth, stretch } from "./queueing.ts";
import type { Decision, Sample } from "./scale.ts";
import { scaleSpec } from "./scale.ts";
import { observeService, serviceTimeStart } from "./service-time.ts";

const TICK_MS = 250;

const poisson = (mean: number, next: () => number): number => {
  let count = 0;
  for (let product = next(); product > Math.exp(-mean); product *= next()) count++;
  return count;
};

describe("the arrival filter", () => {
  const learn = (rateAt: (second: number) => number, seconds: number, seed = 1): number => {
    const random = seeded(seed);
    let arrivals = arrivalsStart;
    for (let t = 0; t < seconds; t += 0.25) arrivals = observeArrivals(arrivals, poisson(rateAt(t) * 0.25, random.next), 0.25);
    return forecastArrivals(arrivals, 0.75);
  };

  it("finds a constant rate to within a fifth", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1_000 }), (seed) => {
        expect(Math.abs(learn(() => 50, 60, seed) - 50)).toBeLessThan(10);
      }),
      { numRuns: 30 },
    );
  });

  it("follows a step within two seconds", () => {
    expect(learn((t) => (t < 60 ? 10 : 80), 62)).toBeGreaterThan(60);
    expect(learn((t) => (t < 60 ? 80 : 10), 62)).toBeLessThan(30);
  });

  it("runs ahead of a ramp and not behind it", () => {
    expect(learn((t) => 10 + t, 100)).toBeGreaterThan(100);
  });

  it("takes a burst of one sample back", () => {
    let arrivals = arrivalsStart;
    for (let i = 0; i < 200; i++) arrivals = observeArrivals(arrivals, 5, 0.25);
    arrivals = observeArrivals(arrivals, 500, 0.25);
    expect(forecastArrivals(arrivals, 0.75)).toBeGreaterThan(1_000);
    arrivals = observeArrivals(arrivals, 5, 0.25);
    expect(forecastArrivals(arrivals, 0.75)).toBeLessThan(30);
  });
});

const busy = (at: number, fields: Partial<Sample>): Sample => ({
  at,
  arrivals: 10,
  completed: 10,
  waiting: 0,
  running: 8,
  inFlight: 8,
  pods: 20,
  readyPods: 20,
  responseMs: 205,
  serviceMs: 200,
  utilisation: (10 * 200) / (20 * TICK_MS),
  ...fields,
});

describe("the service filter", () => {
  const spec = scaleSpec();
  const learn = (count: number, fieldsAt: (i: number) => Partial<Sample>) => {
    let service = serviceTimeStart(spec);
    for (let i = 1; i <= count; i++) service = observeService(spec, service, busy(i * TICK_MS, fieldsAt(i)), TICK_MS);
    return service;
  };

  it("tells service time and delay apart", () => {
    const { cost } = learn(100, () => ({}));
    expect(cost.a).toBeCloseTo(200, -1);
    expect(cost.b).toBeGreaterThan(1);
    expect(cost.b).toBeLessThan(6);
  });

  it("finds the service time from utilisation and response time where nothing is measured inside pods", () => {
    expect(learn(100, () => ({ serviceMs: 0 })).cost.a).toBeCloseTo(200, -1);
  });

  it("rejects one measurement out of bounds", () => {
    const odd = { serviceMs: 5_000, responseMs: 5_000 };
    expect(learn(100, (i) => (i === 100 ? odd : {})).cost.a).toBeCloseTo(learn(100, () => ({})).cost.a, -1);
  });

  it("follows a function that became another one within a second", () => {
    const slower = { serviceMs: 600, responseMs: 605, utilisation: 1, running: 20 };
    expect(learn(104, (i) => (i > 100 ? slower : {})).cost.a).toBeGreaterThan(450);
  });

  it("believes no response time while the layer grows", () => {
    const { cost } = learn(200, (i) => (i > 100 ? { waiting: 500, responseMs: 9_000, utilisation: 1, readyPods: 8, pods: 8 } : {}));
    expect(cost.a).toBeGreaterThan(180);
    expect(cost.a).toBeLessThan(220);
    expect(cost.b).toBeLessThan(10);
  });
});

describe("queueing", () => {
  it("agrees with DC2's formula for one server", () => {
    expect(stretch(0.5, 1)).toBeCloseTo(2);
    expect(stretch(0.9, 1)).toBeCloseTo(10);
  });

  it("knows Erlang's table", () => {
    expect(new Erlang(2).waits(3)).toBeCloseTo(0.4444, 3);
    expect(new Erlang(8).waits(10)).toBeCloseTo(0.4092, 3);
  });

  it("knows how much of an exponential-like time is long", () => {
    expect(longerThan(1, 1)).toBeGreaterThan(0.3);
    expect(longerThan(5, 0.25)).toBeLessThan(0.001);
  });

  const staffing = { load: 8, slotsPerPod: 1, target: 5, spread: 0.25, worth: 1_000, most: 1e6 };

  it("asks for more pods for more load, a nearer target and dearer late calls, and for enough", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 3_000 }),
        fc.integer({ min: 20, max: 100 }),
        fc.integer({ min: 0, max: 5 }),
        (load, target, power) => {
          const given = { ...staffing, load, target: target / 10, worth: 10 ** power };
          const pods = podsWorth(given);
          expect(pods).toBeGreaterThan(load);
          expect(pods).toBeLessThanOrEqual(load + 8 * Math.sqrt(load) + 12);
          expect(podsWorth({ ...given, load: load + 1 })).toBeGreaterThanOrEqual(pods);
          // Where more are late of themselves, others are worth less: that is the next test's.
          if (given.worth * 0.1 * longerThan(given.target, given.spread) < 1)
            expect(podsWorth({ ...given, target: given.target * 2 })).toBeLessThanOrEqual(pods);
          expect(podsWorth({ ...given, worth: given.worth * 10 })).toBeGreaterThanOrEqual(pods);
        },
      ),
    );
  });

  it("may ask for more for a farther target, where with the nearer one many are late of themselves", () => {
    const given = { ...staffing, load: 2, worth: 100_000 };
    expect([2.4, 4.8].map((target) => podsWorth({ ...given, target }))).toEqual([5, 6]);
  });

  it("has a smaller part to spare the more calls there are", () => {
    const spare = [5, 50, 500].map((load) => podsWorth({ ...staffing, load, worth: load * 1_000 }) / load);
    expect(spare[0]).toBeGreaterThan(spare[1]!);
    expect(spare[1]).toBeGreaterThan(spare[2]!);
  });

  it("takes pods with many slots as they come", () => {
    expect(podsWorth({ ...staffing, load: 3, slotsPerPod: 32 })).toBe(1);
    expect(podsWorth({ ...staffing, load: 31.9, slotsPerPod: 32 })).toBe(2);
  });

  it("stops where one more pod saves less than it costs", () => {
    expect(podsWorth({ ...staffing, worth: 1 })).toBe(9);
    expect(podsWorth({ ...staffing, worth: 100 })).toBeLessThan(podsWorth({ ...staffing, worth: 1e6 }));
  });

  it("spends nothing where most calls are late of themselves", () => {
    expect(podsWorth({ ...staffing, target: 0.5 })).toBe(9);
  });
});

describe("predictive", () => {
  const settled = (): Scaler => {
    const scaler = new Scaler(scaleSpec(), 0);
    for (let i = 1; i <= 200; i++) scaler.decide(busy(i * TICK_MS, {}));
    return scaler;
  };
  const next = (scaler: Scaler, i: number, fields: Partial<Sample>): Decision => scaler.decide(busy((200 + i) * TICK_MS, fields));

  it("has a pod or two to spare in a steady state", () => {
    // 40 calls/s of 200 ms keep 8 busy.
    const { pods, forecast } = next(settled(), 1, {});
    expect(pods).toBeGreaterThanOrEqual(9);
    expect(pods).toBeLessThanOrEqual(16);
    expect(forecast.arrivalsPerS).toBeCloseTo(40, -1);
  });

  it("adds what drains a backlog, the more the longer it is", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 300 }), fc.integer({ min: 0, max: 300 }), (some, more) => {
        const saturated = { readyPods: 10, pods: 10, running: 10, utilisation: 1 };
        const less = next(settled(), 1, { ...saturated, waiting: some }).pods;
        expect(next(settled(), 1, { ...saturated, waiting: some + more }).pods).toBeGreaterThanOrEqual(less);
      }),
      { numRuns: 30 },
    );
  });

  it("says so when measurements mean nothing", () => {
    const { reason } = next(settled(), 1, { readyPods: 5, pods: 5, running: 5, utilisation: 1, waiting: 60 });
    expect(reason).toMatch(/^saturated: .*backlog/);
  });

  it("starts a few pods for a first burst of which it knows nothing", () => {
    const scaler = new Scaler(scaleSpec(), 0);
    const { pods, reason } = scaler.decide(
      busy(100, { arrivals: 1_000, completed: 0, waiting: 1_000, running: 0, readyPods: 0, pods: 1, utilisation: 0 }),
    );
    expect(pods).toBeGreaterThan(4);
    expect(pods).toBeLessThanOrEqual(16);
    expect(reason).toMatch(/nothing is measured yet/);
  });

  it("keeps one pod until the cool-down is over, and none after", () => {
    const scaler = settled();
    const idle = { arrivals: 0, completed: 0, running: 0, utilisation: 0, responseMs: 0, serviceMs: 0 };
    let decision = next(scaler, 0, {});
    for (let i = 1; i <= 236; i++) decision = next(scaler, i, { ...idle, pods: decision.pods, readyPods: decision.pods });
    expect(decision.pods).toBe(1);
    for (let i = 237; i <= 242; i++) decision = next(scaler, i, { ...idle, pods: decision.pods, readyPods: decision.pods });
    expect(decision).toMatchObject({ pods: 0, reason: "no traffic for 60000 ms" });
  });

  it("takes a small step down only when nothing has changed for a while, and a large one at once", () => {
    const run = (rateAt: (i: number) => number, count: number) => {
      const scaler = new Scaler(scaleSpec(), 0);
      let pods = 1;
      const downs: { at: number; by: number }[] = [];
      let changedAt = 0;
      for (let i = 1; i <= count; i++) {
        const arrivals = rateAt(i) * 0.25;
        const running = Math.min(pods, Math.round(rateAt(i) * 0.2));
        const decided = scaler.decide(
          busy(i * TICK_MS, { arrivals, completed: arrivals, running, pods, readyPods: pods, utilisation: running / pods }),
        );
        if (decided.pods < pods) downs.push({ at: i * TICK_MS - changedAt, by: pods - decided.pods });
        if (decided.pods !== pods) changedAt = i * TICK_MS;
        pods = decided.pods;
      }
      return { downs, pods };
    };
    // Up and down by a tenth every 12 s.
    const ripples = run((i) => (i % 96 < 48 ? 80 : 88), 2_400);
    expect(ripples.downs.filter(({ at, by }) => by === 1 && at < 30_000)).toEqual([]);
    expect(run((i) => (i < 400 ? 80 : 8), 480).pods).toBeLessThan(8);
  });

  it("waits for peaks that return, where pods start slowly, and doesn't where they start at once", () => {
    const between = (startDelayMs: number): number => {
      const scaler = new Scaler(scaleSpec({ startDelayMs }), 0);
      let pods = 1;
      for (let i = 1; i <= 5 * 240 - 20; i++) {
        const isPeak = i % 240 < 40;
        const arrivals = isPeak ? 25 : 2;
        const running = Math.min(pods, isPeak ? 20 : 2);
        pods = scaler.decide(
          busy(i * TICK_MS, { arrivals, completed: arrivals, running, pods, readyPods: pods, utilisation: running / pods }),
        ).pods;
      }
      return pods;
    };
    expect(between(5_000)).toBeGreaterThan(20);
    expect(between(50)).toBeLessThan(8);
  });

  it("starts more pods for a first burst where there is no second chance", () => {
    const first = (startDelayMs: number) =>
      new Scaler(scaleSpec({ startDelayMs }), 0).decide(
        busy(250, {
          arrivals: 100,
          completed: 0,
          waiting: 100,
          running: 0,
          readyPods: 0,
          pods: 1,
          utilisation: 0,
          responseMs: 0,
          serviceMs: 0,
        }),
      ).pods;
    expect(first(100)).toBeLessThanOrEqual(16);
    expect(first(5_000)).toBeGreaterThan(16);
    expect(first(5_000)).toBeLessThanOrEqual(64);
  });

  it("keeps its pods while calls are there, with a cool-down of nothing too", () => {
    const scaler = new Scaler(scaleSpec({ coolDownMs: 0 }), 0);
    expect(scaler.decide(busy(TICK_MS, {})).pods).toBeGreaterThan(0);
    expect(scaler.decide({ ...busy(2 * TICK_MS, { arrivals: 0, completed: 0, running: 0, utilisation: 0 }) }).pods).toBe(0);
  });

  it("has pods before the season's next peak", () => {
    const peak = (spec: ReturnType<typeof scaleSpec>): number => {
      const scaler = new Scaler(spec, 0);
      let pods = 0;
      for (let at = TICK_MS; at <= 4 * 96_000 - 500; at += TICK_MS) {
        const isPeak = at % 96_000 < 20_000;
        const arrivals = isPeak ? 20 : 1;
        pods = scaler.decide(busy(at, { arrivals, completed: arrivals, running: arrivals, utilisation: 0.5, pods, readyPods: pods })).pods;
      }
      return pods;
    };
    expect(peak(scaleSpec({ seasonMs: 96_000 }))).toBeGreaterThan(2 * peak(scaleSpec()));
  });
});
