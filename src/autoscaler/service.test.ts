import { expect, test } from "vitest";
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
  return { layer, target, decided, active, grow, live, scaler };
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

test("calls off no pods that start while calls wait for them", () => {
  const { live, target, layer, scaler, grow } = setUp("predictive");
  grow(1);
  live(3_000, 100, 100);
  const { desired } = target;
  expect(desired).toBeGreaterThan(1);
  const pods = [...target.set.pods.values()];
  for (const pod of pods) pod.state = "starting";
  layer.enqueue(entry(100_000), 1_010_000);
  let now = 1_010_000;
  const lookFor = (ms: number): void => {
    for (const end = now + ms; now < end; now += 100) scaler.look(now);
  };
  lookFor(60_000);
  expect(target.desired).toBe(desired);
  for (const pod of pods) pod.state = "ready";
  lookFor(60_000);
  expect(target.desired).toBeLessThan(desired);
});
