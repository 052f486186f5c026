import { describe, expect, test } from "vitest";
import type { ScaleForecast } from "../protocol/cluster.ts";
import { type Entry, Layers } from "../queue/machine.ts";
import type { Pod } from "../scheduler/fleet.ts";
import type { PodSet } from "../scheduler/service.ts";
import type { ScalingTarget } from "./service.ts";
import { Autoscaler } from "./service.ts";

type Policy = ScalingTarget["settings"]["scale"]["policy"];

const entry = (seq: number): Entry => ({
  run: "run_00000000001",
  seq,
  attempt: 1,
  fn: "pay",
  version: "v1",
  input: "1",
  priority: 0,
  timeoutMs: 60_000,
  solo: false,
  notBefore: 0,
  state: "waiting",
  waitingSince: 0,
  lease: 0,
  pod: "",
  leasedAt: 0,
});

/** A function whose pods are ready as soon as they are decided, and whose calls the test moves. */
const setUp = (policy: Policy = "predictive", scale: Partial<ScalingTarget["settings"]["scale"]> = {}) => {
  const layer = new Layers().open("pay", "v1");
  const pods = new Map<string, Pod>();
  const set = { layer, pods } as unknown as PodSet;
  const full = { min: 0, max: 10, policy, targetMs: 500, coolDownMs: 5_000, ...scale };
  const target = { fn: "pay", version: "v1", settings: { template: { slots: 2 }, scale: full, isFixed: false }, desired: 0, set };
  const decided: { pods: number; reason: string; forecast: ScaleForecast }[] = [];
  const grow = (count: number): void => {
    target.desired = count;
    pods.clear();
    for (let i = 0; i < count; i++) pods.set(`p${i}`, { state: "ready", coldStartMs: 40 } as Pod);
  };
  const active: (typeof target)[] = [target];
  const scaler = new Autoscaler<typeof target>({
    active: () => active,
    scale: (_, count, reason, forecast) => {
      decided.push({ pods: count, reason, forecast });
      grow(count);
    },
  });
  let seqs = 0;
  let now = 1_000_000;
  const running: { call: Entry; until: number }[] = [];
  /** So much time passes, with so many calls each second that take so long. */
  const live = (ms: number, perSecond: number, takesMs: number): void => {
    for (const end = now + ms; now < end; now += 10) {
      for (const done of running.filter(({ until }) => until <= now)) {
        layer.settle(done.call, true, now);
        running.splice(running.indexOf(done), 1);
      }
      if (perSecond > 0 && now % Math.max(10, Math.round(1_000 / perSecond / 10) * 10) === 0) {
        for (let i = 0; i < Math.max(1, perSecond / 100); i++) layer.enqueue(entry(++seqs), now);
      }
      while (layer.leased < pods.size * 2 && layer.waiting > 0) {
        running.push({ call: layer.take(++seqs, "p", now) as Entry, until: now + takesMs });
      }
      if (now % 100 === 0) scaler.look(now);
    }
  };
  return { layer, pods, target, decided, active, grow, live, scaler };
};

test.each<Policy>(["predictive", "threshold", "kpa", "hpa"])("%s gives a load the pods that it needs, and the bounds hold", (policy) => {
  const { live, target, decided, grow } = setUp(policy, { max: 6 });
  grow(1);
  // Seven slots of work: four pods, and a little more.
  live(60_000, 70, 100);
  expect(target.desired).toBeGreaterThanOrEqual(4);
  expect(Math.max(...decided.map(({ pods }) => pods))).toBeLessThanOrEqual(6);
});

test("what it expects is near what is", () => {
  const { live, decided, grow } = setUp("predictive");
  grow(1);
  live(3_000, 70, 100);
  live(60_000, 40, 100);
  const { forecast } = decided.at(-1) as (typeof decided)[number];
  expect(forecast.serviceMs).toBeGreaterThan(60);
  expect(forecast.serviceMs).toBeLessThan(200);
});

test("without calls for the cool-down it goes back to the minimum", () => {
  const { live, target, grow } = setUp("predictive", { min: 1 });
  grow(1);
  live(5_000, 70, 100);
  expect(target.desired).toBeGreaterThan(1);
  live(30_000, 0, 100);
  expect(target.desired).toBe(1);
});

test("tells a decision only when the number changes, and nothing of what is fixed or not active", () => {
  const given = setUp("predictive");
  given.grow(1);
  given.live(20_000, 5, 20);
  for (let i = 1; i < given.decided.length; i++) expect(given.decided[i]?.pods).not.toBe(given.decided[i - 1]?.pods);
  const { length } = given.decided;
  Object.assign(given.target.settings, { isFixed: true });
  given.live(5_000, 200, 200);
  expect(given.decided).toHaveLength(length);
  Object.assign(given.target.settings, { isFixed: false });
  given.active.length = 0;
  given.live(5_000, 200, 200);
  expect(given.decided).toHaveLength(length);
});

describe("while calls wait", () => {
  /** After a load that is over: some pods of each kind, and one call that waits. Looks on for a minute. */
  const leastOf = (policy: Policy, desired: number, given: Partial<Pod>[], waiting = 1, executing = 0): number => {
    const { live, target, layer, pods, scaler, grow } = setUp(policy, { targetMs: 2_000 });
    grow(1);
    live(3_000, 10, 20);
    target.desired = desired;
    pods.clear();
    for (const [i, pod] of given.entries()) pods.set(`p${i}`, pod as Pod);
    for (let i = 0; i < waiting + executing; i++) layer.enqueue(entry(100_000 + i), 1_010_000);
    for (let i = 0; i < executing; i++) layer.take(100_000 + i, "p0", 1_010_000);
    let least = desired;
    // What is decided is not carried out: the pods stay as they are.
    for (let now = 1_010_000; now < 1_070_000; now += 100) {
      const kept = new Map(pods);
      scaler.look(now);
      least = Math.min(least, target.desired);
      pods.clear();
      for (const [id, pod] of kept) pods.set(id, pod);
    }
    return least;
  };
  const ready = { state: "ready", coldStartMs: 40 } as const;
  const starting = { state: "starting", coldStartMs: undefined } as const;
  const loading = { state: "ready", coldStartMs: undefined } as const;
  const draining = { state: "draining", coldStartMs: 40 } as const;

  test.each<Policy>(["predictive", "threshold", "kpa"])("%s calls off no pods that start, or that have been taken and load", (policy) => {
    expect(leastOf(policy, 4, [ready, starting, loading, ready])).toBe(4);
    expect(leastOf(policy, 2, [ready, loading, draining, draining])).toBe(2);
  });

  test.each<Policy>(["predictive", "kpa"])("%s gives up pods that nothing starts, and those that are ready", (policy) => {
    expect(leastOf(policy, 8, [ready, starting, ready])).toBe(3);
    expect(leastOf(policy, 4, [ready, ready, ready, ready])).toBeLessThan(4);
  });

  test.each<Policy>(["predictive", "kpa"])("%s calls off no pods that are full, and those that a limit leaves idle", (policy) => {
    expect(leastOf(policy, 4, [ready, ready, ready, ready], 1, 8)).toBe(4);
    expect(leastOf(policy, 4, [ready, ready, ready, ready], 1, 2)).toBeLessThan(4);
  });

  test("and when none does, pods that start may go", () => {
    expect(leastOf("predictive", 4, [ready, starting, ready, ready], 0)).toBeLessThan(4);
  });
});
