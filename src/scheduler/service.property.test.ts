import fc from "fast-check";
import { expect, test } from "vitest";
import { FakeCluster } from "../../test/support/fake-cluster.ts";
import type { FunctionSpec } from "../protocol/application.ts";
import type { ToPod } from "../protocol/pod.ts";
import type { Entry } from "../queue/machine.ts";
import { createStepClock } from "../testing/step-clock.ts";
import { Fleet } from "./fleet.ts";
import { Scheduler } from "./service.ts";

const SLOTS = 3;
const LIMIT = 4;
const MAX_PODS = 4;
const PER_SECOND = 5;

const OPTIONS: Record<string, Partial<FunctionSpec>> = {
  limited: { concurrency: LIMIT },
  big: { memoryMb: 512 },
  paced: { limits: { perSecond: PER_SECOND, key: "customer" } },
  beating: { heartbeatMs: 60 },
};

/** A scheduler over a cluster that the story drives, and what a bystander knows of it. */
const setUp = async () => {
  const clock = createStepClock(1_000_000);
  const cluster = new FakeCluster(clock);
  const fleetOptions = { warmPods: 1, defaultMemoryMb: 256, maxPods: MAX_PODS, hangMs: 3_600_000, idleMs: 500, memoryHeadroomMb: 100 };
  const fleet = new Fleet(cluster, clock, fleetOptions, { started: () => {}, stopped: () => {} });
  const ends = new Map<Entry, number>();
  const withdrawn = new Set<Entry>();
  const told: { entry: Entry; value: string }[] = [];
  const home = (name: string) => ({
    application: "shop",
    path: "",
    spec: { name, ...OPTIONS[name] },
  });
  const scheduler = new Scheduler(
    fleet,
    clock,
    { slotsPerPod: SLOTS, maxPodsPerFunction: 2, defaultMemoryMb: 256, patienceMs: 100 },
    home,
    (entry) => {
      expect(withdrawn.has(entry), "the outcome of a withdrawn call counts").toBe(false);
      ends.set(entry, (ends.get(entry) ?? 0) + 1);
    },
    {
      request: () => {},
      withdrawn: () => {},
      progress: (entry, value) => {
        expect(withdrawn.has(entry) || ends.has(entry), "progress of a call that is over counts").toBe(false);
        told.push({ entry, value });
      },
    },
  );
  await fleet.start();
  scheduler.start();
  return { clock, cluster, scheduler, ends, withdrawn, told, entries: [] as Entry[], answered: new Set<number>() };
};
type World = Awaited<ReturnType<typeof setUp>>;

/** What a pod was sent and has not answered, whether it was given up or not. */
const outstanding = ({ cluster, answered }: World, pod: string): (ToPod & { t: "invoke" })[] =>
  cluster.to(pod, "invoke").filter(({ lease }) => !answered.has(lease));

const answer = (world: World, pod: string, lease: number, fails: boolean): void => {
  world.answered.add(lease);
  const failure = fails ? JSON.stringify({ code: "FUNCTION_FAILED", message: "no" }) : "";
  world.cluster.say(pod, { t: "result", lease, value: "", failure, durationMs: 1, cpuMs: 1, memoryMb: 1, lines: [] });
};

const action = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      t: fc.constant("call" as const),
      fn: fc.constantFrom("pay", "limited", "big", "paced", "paced", "beating"),
      customer: fc.nat(2),
      version: fc.constantFrom("v1", "v2"),
      solo: fc.constantFrom(false, false, false, true),
      delayMs: fc.constantFrom(0, 0, 0, 30),
      timeoutMs: fc.constantFrom(60, 10_000),
      priority: fc.integer({ min: 0, max: 1 }),
    }),
  },
  { weight: 6, arbitrary: fc.record({ t: fc.constant("connect" as const), pick: fc.nat() }) },
  { weight: 8, arbitrary: fc.record({ t: fc.constant("answer" as const), pick: fc.nat(), fails: fc.boolean() }) },
  { weight: 3, arbitrary: fc.record({ t: fc.constant("tell" as const), pick: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ t: fc.constant("die" as const), pick: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ t: fc.constant("withdraw" as const), pick: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ t: fc.constant("refuse" as const), pick: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ t: fc.constant("block" as const), pick: fc.nat(), blockedMs: fc.constantFrom(0, 300) }) },
  { weight: 5, arbitrary: fc.record({ t: fc.constant("wait" as const), ms: fc.integer({ min: 1, max: 120 }) }) },
);
type Action = typeof action extends fc.Arbitrary<infer Value> ? Value : never;

const perform = (world: World, given: Action): void => {
  const { clock, cluster, scheduler, entries } = world;
  const chosen = (pods: string[]): string | undefined => ("pick" in given ? pods[given.pick % Math.max(1, pods.length)] : undefined);
  const connected = [...cluster.connectedPods];
  switch (given.t) {
    case "call": {
      const { fn, version, solo, timeoutMs, priority } = given;
      const at = { state: "waiting", waitingSince: 0, lease: 0, pod: "", leasedAt: 0, notBefore: clock.now() + given.delayMs } as const;
      const entry: Entry = {
        run: "run_00000000001",
        seq: entries.length,
        attempt: 1,
        fn,
        version,
        input: JSON.stringify({ customer: given.customer }),
        priority,
        timeoutMs,
        solo,
        ...at,
      };
      entries.push(entry);
      return scheduler.enqueue(entry);
    }
    case "wait":
      return clock.advance(given.ms);
    case "withdraw": {
      const entry = entries[given.pick % Math.max(1, entries.length)];
      if (entry === undefined || world.ends.has(entry)) return;
      world.withdrawn.add(entry);
      return scheduler.withdraw(entry, "no longer needed");
    }
    case "connect": {
      const pod = chosen(cluster.pods.filter((each) => !cluster.connectedPods.has(each)));
      return pod === undefined ? undefined : cluster.connect(pod);
    }
    case "answer":
    case "tell": {
      const pod = chosen(connected.filter((each) => outstanding(world, each).length > 0));
      const invokes = pod === undefined ? [] : outstanding(world, pod);
      const invoke = invokes[given.pick % Math.max(1, invokes.length)];
      if (invoke === undefined) return;
      if (given.t === "answer") return answer(world, pod!, invoke.lease, given.fails);
      return cluster.say(pod!, { t: "progress", lease: invoke.lease, value: `${invoke.seq}` });
    }
    case "die": {
      const pod = chosen(cluster.pods);
      if (pod === undefined) return;
      return cluster.die(pod, { reason: cluster.connectedPods.has(pod) ? "exited" : "failed-to-start" });
    }
    case "refuse": {
      const pod = chosen(connected);
      if (pod === undefined) return;
      return cluster.say(pod, { t: "refused", version: "v1", failure: JSON.stringify({ code: "APPLICATION_INVALID", message: "no" }) });
    }
    case "block": {
      const pod = chosen(connected);
      return pod === undefined ? undefined : cluster.beat(pod, { blockedMs: given.blockedMs });
    }
  }
};

/** What must hold at any moment. */
const check = (world: World): void => {
  const { cluster, entries, ends } = world;
  for (const count of ends.values()) expect(count).toBe(1);
  for (const pod of cluster.connectedPods) {
    const invokes = outstanding(world, pod);
    expect(invokes.length, "a pod has more than its slots").toBeLessThanOrEqual(SLOTS);
    const suspects = invokes.filter(({ seq }) => entries[seq]!.solo);
    if (suspects.length > 0) expect(invokes, "a suspect is not alone").toHaveLength(1);
    expect(new Set(invokes.map(({ seq }) => `${entries[seq]!.fn}@${entries[seq]!.version}`)).size).toBeLessThanOrEqual(1);
  }
  const leased = (fn: string): number => entries.filter((entry) => entry.fn === fn && entry.state === "leased").length;
  expect(leased("limited")).toBeLessThanOrEqual(LIMIT);
  expect(cluster.pods.length).toBeLessThanOrEqual(MAX_PODS);
};

const expectPace = (times: number[]): void => {
  const begun = times.sort((a, b) => a - b);
  begun.forEach((from, i) => {
    for (let j = i; j < begun.length; j++)
      expect(j - i + 1).toBeLessThanOrEqual(((begun[j]! - from) * PER_SECOND) / 1_000 + PER_SECOND + 1e-6);
  });
};

test("each call ends once, slots, limits and solitude hold, and in the end every call was served (S1, S2)", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(action, { maxLength: 80, size: "max" }), async (actions) => {
      const world = await setUp();
      for (const each of actions) {
        perform(world, each);
        check(world);
      }
      const { cluster, clock, entries, ends, withdrawn, scheduler } = world;
      const open = (): Entry[] => entries.filter((entry) => !ends.has(entry) && !withdrawn.has(entry));
      for (let i = 0; i < 400 && open().length > 0; i++) {
        cluster.connectAll();
        for (const pod of cluster.connectedPods) {
          cluster.beat(pod);
          cluster.say(pod, { t: "loaded", version: "v1", manifest: { functions: [], coordinators: [] }, ms: 1 });
          for (const { lease } of outstanding(world, pod)) answer(world, pod, lease, false);
        }
        clock.advance(50);
        check(world);
      }
      expectPace(entries.filter(({ fn, leasedAt }) => fn === "paced" && leasedAt > 0).map(({ leasedAt }) => leasedAt));
      for (const { entry, value } of world.told) expect(value).toBe(`${entry.seq}`);
      expect(open().map(({ fn, version, state }) => [fn, version, state])).toEqual([]);
      expect(scheduler.depth).toBe(0);
      expect(scheduler.views().reduce((sum, view) => sum + view.running, 0)).toBe(0);
    }),
    { numRuns: 150 },
  );
});
