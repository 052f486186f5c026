import { describe, expect, test } from "vitest";
import { setUpScheduler } from "../../test/support/scheduler.ts";
import type { Entry } from "../queue/machine.ts";
import type { Placement, PodSet } from "./service.ts";

describe("the end of a pod", () => {
  test("gives its calls back at once, each with the reason, and starts another pod for what waits", async () => {
    const { call, cluster, settled, executing, failures } = await setUpScheduler();
    for (let i = 0; i < 3; i++) call();
    cluster.connect("pod-1");
    cluster.die("pod-1", { detail: "signal SIGSEGV", output: "oops" });
    expect(failures()).toEqual([
      [1, "POD_LOST"],
      [2, "POD_LOST"],
    ]);
    expect(settled[0]!.outcome.failure).toEqual({
      code: "POD_LOST",
      message: "pod-1 died: signal SIGSEGV",
      details: { reason: "exited", output: "oops" },
    });
    cluster.connect("pod-2");
    expect(executing("pod-2")).toEqual([3]);
  });

  test("is told apart: out of memory, hung", async () => {
    const { call, cluster, settled } = await setUpScheduler();
    call();
    cluster.connect("pod-1");
    cluster.die("pod-1", { memory: true });
    call();
    cluster.connect("pod-2");
    cluster.die("pod-2", { reason: "hung" });
    expect(settled.map(({ outcome }) => outcome.failure)).toMatchObject([
      { code: "OUT_OF_MEMORY" },
      { code: "POD_LOST", message: "pod-2 hung and was ended" },
    ]);
  });

  test("lets what waits go to the other pods at once, when it is the limit that held it back", async () => {
    const { call, cluster, clock, executing } = await setUpScheduler({ patienceMs: 0 }, { specs: { pay: { concurrency: 3 } } });
    for (let i = 0; i < 4; i++) call();
    cluster.connect("pod-1");
    clock.advance(50);
    cluster.connect("pod-2");
    expect([executing("pod-1"), executing("pod-2")]).toEqual([[1, 2], [3]]);
    cluster.die("pod-1");
    expect(executing("pod-2")).toEqual([3, 4]);
  });

  test("does not touch the calls in other pods", async () => {
    const { call, cluster, answer, settled } = await setUpScheduler();
    const [, other] = [call({ version: "v1" }), call({ version: "v2" })];
    cluster.connectAll();
    cluster.die("pod-1");
    answer(other!);
    expect(settled.map(({ seq, outcome }) => [seq, outcome.value])).toEqual([
      [1, undefined],
      [2, "7"],
    ]);
  });
});

test("calls that wait for their function's limit, and not for slots, cost no pod its life", async () => {
  const { call, clock, cluster, scheduler, executing } = await setUpScheduler({}, { specs: { pay: { concurrency: 1 } } });
  const withdrawn = call();
  cluster.connect("pod-1");
  scheduler.withdraw(withdrawn, "no longer needed");
  call();
  call();
  clock.advance(10_000);
  expect([executing("pod-1"), cluster.deleted]).toEqual([[1, 2], []]);
});

describe("more pods", () => {
  test("come when calls have waited for too long, one at a time and up to the limit", async () => {
    const { call, cluster, clock, executing } = await setUpScheduler();
    for (let i = 0; i < 9; i++) call();
    cluster.connectAll();
    clock.advance(100);
    expect(cluster.created).toBe(1);
    clock.advance(1_000);
    expect(cluster.created).toBe(2);
    cluster.connectAll();
    clock.advance(5_000);
    cluster.connectAll();
    clock.advance(5_000);
    expect(["pod-1", "pod-2", "pod-3"].map(executing)).toEqual([
      [1, 2],
      [3, 4],
      [5, 6],
    ]);
    expect(cluster.created).toBe(3);
  });

  test("do not come while calls are taken in time", async () => {
    const { call, cluster, clock, answer } = await setUpScheduler();
    cluster.connectAll();
    for (let i = 0; i < 50; i++) {
      const entry = call();
      cluster.connectAll();
      clock.advance(20);
      answer(entry);
    }
    expect(cluster.created).toBe(1);
  });

  test("stand in for one whose event loop stands still, if there are any", async () => {
    const { call, cluster, clock, answer, executing } = await setUpScheduler({ slotsPerPod: 3 });
    const calls = Array.from({ length: 4 }, () => call());
    cluster.connect("pod-1");
    clock.advance(200);
    cluster.connect("pod-2");
    for (const seq of [0, 1, 2]) answer(calls[seq]!);
    cluster.beat("pod-1", { blockedMs: 300 });
    call();
    expect(executing("pod-2")).toEqual([4, 5]);
    cluster.beat("pod-1", { blockedMs: 0 });
    call();
    expect(executing("pod-1")).toEqual([1, 2, 3, 6]);
    cluster.die("pod-2");
    cluster.beat("pod-1", { blockedMs: 300 });
    call();
    expect(executing("pod-1")).toEqual([1, 2, 3, 6, 7]);
  });
});

describe("a pod that does not start", () => {
  test("is tried again after a pause that grows, up to five seconds", async () => {
    const { call, cluster, clock } = await setUpScheduler();
    call();
    const pauses: number[] = [];
    for (let i = 0; i < 8; i++) {
      const before = clock.now();
      cluster.die(cluster.pods[0]!, { reason: "failed-to-start" });
      while (cluster.pods.length === 0) clock.advance(10);
      pauses.push(clock.now() - before);
    }
    const least = [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000];
    pauses.forEach((pause, i) => {
      expect(pause).toBeGreaterThanOrEqual(least[i]!);
      expect(pause).toBeLessThanOrEqual(least[i]! + 60);
    });
  });

  test("leaves its calls waiting, and the first that loads takes them and ends the pauses", async () => {
    const { call, cluster, clock, executing, settled, loaded } = await setUpScheduler();
    call();
    cluster.die("pod-1", { reason: "failed-to-start" });
    clock.advance(150);
    cluster.connect("pod-2");
    loaded("pod-2");
    expect([executing("pod-2"), settled]).toEqual([[1], []]);
    cluster.die("pod-2");
    call();
    cluster.die("pod-3", { reason: "failed-to-start" });
    clock.advance(150);
    expect(cluster.pods).toEqual(["pod-4"]);
  });

  test("because the application does not load fails the calls that it was given, and is tried again after a pause that grows", async () => {
    const { call, cluster, clock, refuse, failures } = await setUpScheduler();
    const pauses: number[] = [];
    for (let i = 0; i < 9; i++) call();
    for (let i = 0; i < 4; i++) {
      const before = clock.now();
      while (cluster.pods.length === 0) clock.advance(10);
      pauses.push(clock.now() - before);
      const pod = cluster.pods[0]!;
      cluster.connect(pod);
      refuse(pod);
      clock.advance(0);
    }
    expect(failures().map(([, code]) => code)).toEqual(Array(8).fill("POD_FAILED_TO_START"));
    expect(pauses[0]).toBe(0);
    expect(pauses[3]).toBeGreaterThanOrEqual(400);
  });

  test("because the application does not load gets none of its calls again, also when they are tried again at once", async () => {
    const { call, cluster, refuse, executing, failures } = await setUpScheduler({}, { triesAgain: true });
    call();
    call();
    cluster.connect("pod-1");
    refuse("pod-1");
    expect([failures().length, executing("pod-1")]).toEqual([2, [1, 2]]);
  });
});

describe("a machine without room", () => {
  test("lets calls wait until a pod goes, and then serves them", async () => {
    const { call, cluster, clock, answer, executing } = await setUpScheduler({}, { maxPods: 1 });
    const first = call({ fn: "pay" });
    cluster.connect("pod-1");
    call({ fn: "ship" });
    clock.advance(1_000);
    expect([cluster.created, cluster.deleted]).toEqual([1, []]);
    answer(first);
    clock.advance(200);
    cluster.connectAll();
    expect([cluster.pods, executing("pod-2")]).toEqual([["pod-2"], [2]]);
  });

  test("serves functions in turn, also those that want more memory", async () => {
    const { call, cluster, clock, answer, settled } = await setUpScheduler({}, { maxPods: 1, specs: { big: { memoryMb: 512 } } });
    for (const fn of ["pay", "big", "ship", "pay"]) call({ fn });
    for (let i = 0; i < 100 && settled.length < 4; i++) {
      cluster.connectAll();
      for (const pod of cluster.pods) for (const { lease } of cluster.to(pod, "invoke").slice(-2)) answer({ lease, pod } as Entry);
      clock.advance(50);
    }
    expect(settled.map(({ seq }) => seq).sort()).toEqual([1, 2, 3, 4]);
  });
});

test("what it shows are the layers as they are", async () => {
  const { call, cluster, clock, scheduler, answer } = await setUpScheduler({ maxPodsPerFunction: 1 });
  const first = call();
  cluster.connect("pod-1");
  answer(first);
  for (let i = 0; i < 4; i++) call();
  call({ notBefore: clock.now() + 10_000 });
  clock.advance(500);
  expect(scheduler.views()).toEqual([
    {
      function: "pay",
      application: "shop",
      version: "v1",
      waiting: 2,
      delayed: 1,
      running: 2,
      dead: 0,
      pods: 1,
      oldestWaitingMs: 500,
      throttled: false,
      enqueuedPerSecond: 0.6,
      completedPerSecond: 0.1,
      completed: 1,
      failed: 0,
    },
  ]);
  expect(scheduler.depth).toBe(3);
});

test("a layer whose last pod is gone and which holds nothing is forgotten", async () => {
  const { call, cluster, scheduler, answer } = await setUpScheduler();
  const entry = call();
  cluster.connect("pod-1");
  answer(entry);
  cluster.die("pod-1");
  expect(scheduler.views()).toEqual([]);
  call();
  cluster.connect("pod-2");
  expect(cluster.to("pod-2", "invoke")).toHaveLength(1);
});

describe("a set that somebody else places pods in", () => {
  const placing = (): Placement & { sets: PodSet[] } => {
    const sets: PodSet[] = [];
    return {
      sets,
      template: (fn) => ({ slots: 2, memoryMb: 256, service: fn }),
      activate: (set) => {
        sets.push(set);
        set.add(true);
      },
      served: () => {},
      refused: () => {},
      gone: () => {},
    };
  };

  test("is the same one until that lets it go, so that what was decided of it holds for its next call", async () => {
    const placement = placing();
    const { call, cluster, answer } = await setUpScheduler({}, { placement });
    const entry = call();
    cluster.connect("pod-1");
    answer(entry);
    cluster.die("pod-1");
    call();
    expect(placement.sets[1]).toBe(placement.sets[0]);
  });

  test("that is let go twice takes no calls with it that came in between", async () => {
    const placement = placing();
    const { call, clock, cluster, answer, scheduler, executing } = await setUpScheduler({}, { placement });
    const entry = call();
    cluster.connect("pod-1");
    answer(entry);
    cluster.die("pod-1");
    const set = placement.sets[0] as PodSet;
    scheduler.release(set);
    call({ notBefore: clock.now() + 100 });
    scheduler.release(set);
    clock.advance(100);
    cluster.connectAll();
    expect(executing("pod-2")).toEqual([2]);
  });
});

test("a function's next call would take a warm pod when it has none of its own and suits one", async () => {
  const { call, scheduler, cluster } = await setUpScheduler({}, { specs: { big: { memoryMb: 512 } } });
  expect(["pay", "big", "unknown"].map((fn) => scheduler.takesWarm(fn, "v1"))).toEqual([true, false, false]);
  call();
  expect([scheduler.takesWarm("pay", "v1"), scheduler.takesWarm("pay", "v2")]).toEqual([false, true]);
  cluster.connectAll();
  expect(scheduler.takesWarm("pay", "v1")).toBe(false);
});
