import { describe, expect, test } from "vitest";
import { FakeCluster } from "../../test/support/fake-cluster.ts";
import type { Failure } from "../lib/errors.ts";
import type { FunctionSpec } from "../protocol/application.ts";
import type { FromPod } from "../protocol/pod.ts";
import type { Entry } from "../queue/machine.ts";
import { createStepClock } from "../testing/step-clock.ts";
import { Fleet } from "./fleet.ts";
import type { Outcome, Placement, PodSet, SchedulerOptions } from "./service.ts";
import { Scheduler } from "./service.ts";

const OPTIONS: SchedulerOptions = { slotsPerPod: 2, maxPodsPerFunction: 3, defaultMemoryMb: 256, patienceMs: 100 };

const setUp = async (
  options: Partial<SchedulerOptions> = {},
  {
    specs = {} as Record<string, Partial<FunctionSpec>>,
    maxPods = 20,
    triesAgain = false,
    placement = undefined as Placement | undefined,
  } = {},
) => {
  const clock = createStepClock(1_000_000);
  const cluster = new FakeCluster(clock);
  const fleetOptions = { warmPods: 0, defaultMemoryMb: 256, maxPods, hangMs: 3_600_000, idleMs: 3_600_000, memoryHeadroomMb: 100 };
  const fleet = new Fleet(cluster, clock, fleetOptions, { started: () => {}, stopped: () => {} });
  const settled: { seq: number; outcome: Outcome }[] = [];
  const homes = (fn: string) =>
    fn === "unknown" ? undefined : { application: "shop", path: `/bundles/${fn}`, spec: { name: fn, ...specs[fn] } };
  const settle = (entry: Entry, outcome: Outcome): void => {
    settled.push({ seq: entry.seq, outcome });
    if (triesAgain && settled.length < 20) scheduler.enqueue({ ...entry, state: "waiting", lease: 0, pod: "" });
  };
  const scheduler: Scheduler = new Scheduler(fleet, clock, { ...OPTIONS, ...options }, homes, settle, undefined, placement);
  await fleet.start();
  scheduler.start();
  let seqs = 0;

  const call = (given: Partial<Entry> = {}): Entry => {
    const entry: Entry = {
      run: "run_00000000001",
      seq: ++seqs,
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
      ...given,
    };
    scheduler.enqueue(entry);
    return entry;
  };
  const answer = (entry: Entry, result: Partial<FromPod & { t: "result" }> = {}): void => {
    const base = { t: "result" as const, lease: entry.lease, value: "7", failure: "", durationMs: 3, cpuMs: 1, memoryMb: 60, lines: [] };
    cluster.say(entry.pod, { ...base, ...result });
  };
  const loaded = (pod: string): void =>
    cluster.say(pod, { t: "loaded", version: "v1", manifest: { functions: [], coordinators: [] }, ms: 1 });
  const refuse = (pod: string): void =>
    cluster.say(pod, { t: "refused", version: "v1", failure: JSON.stringify({ code: "APPLICATION_INVALID", message: "syntax" }) });
  const executing = (pod: string): number[] => cluster.to(pod, "invoke").map(({ seq }) => seq);
  const failures = (): [number, string | undefined][] => settled.map(({ seq, outcome }) => [seq, outcome.failure?.code]);
  return { clock, cluster, fleet, scheduler, settled, call, answer, loaded, refuse, executing, failures };
};

describe("dispatch", () => {
  test("starts a pod for the first call, and sends the call as soon as it is connected", async () => {
    const { call, cluster, executing } = await setUp({}, { specs: { pay: { memoryMb: 512 } } });
    const entry = call({ timeoutMs: 500, input: '{"a":1}' });
    expect([cluster.specs.get("pod-1"), executing("pod-1")]).toEqual([{ id: "pod-1", memoryMb: 512 }, []]);
    cluster.connect("pod-1");
    const invoke = { t: "invoke", lease: entry.lease, fn: "pay", input: '{"a":1}', run: entry.run, seq: 1, attempt: 1, timeoutMs: 500 };
    expect(cluster.sent.get("pod-1")).toEqual([{ t: "load", version: "v1", path: "/bundles/pay" }, invoke]);
    expect(entry).toMatchObject({ state: "leased", pod: "pod-1" });
  });

  test("fills no pod beyond its slots, and goes on as soon as one comes free", async () => {
    const { call, cluster, answer, executing } = await setUp();
    const [first] = [1, 2, 3].map(() => call());
    cluster.connect("pod-1");
    expect(executing("pod-1")).toEqual([1, 2]);
    answer(first!);
    expect(executing("pod-1")).toEqual([1, 2, 3]);
  });

  test("goes to the pod with the least to do", async () => {
    const { call, cluster, clock, answer, executing } = await setUp({ slotsPerPod: 3, patienceMs: 0 });
    const calls = Array.from({ length: 4 }, () => call());
    cluster.connect("pod-1");
    clock.advance(50);
    cluster.connect("pod-2");
    expect([executing("pod-1"), executing("pod-2")]).toEqual([[1, 2, 3], [4]]);
    answer(calls[0]!);
    call();
    expect(executing("pod-2")).toEqual([4, 5]);
    answer(calls[1]!);
    call();
    expect(executing("pod-1")).toEqual([1, 2, 3, 6]);
  });

  test("gives each version pods of its own", async () => {
    const { call, cluster, executing } = await setUp();
    call({ version: "v1" });
    call({ version: "v2" });
    cluster.connectAll();
    expect([executing("pod-1"), executing("pod-2")]).toEqual([[1], [2]]);
    expect(cluster.to("pod-2", "load")).toMatchObject([{ version: "v2" }]);
  });

  test("keeps a call back until its time", async () => {
    const { call, cluster, clock, executing, scheduler } = await setUp();
    const { now } = clock;
    call({ notBefore: now() + 500 });
    call({ notBefore: now() + 200 });
    expect([cluster.created, scheduler.depth]).toEqual([0, 2]);
    clock.advance(200);
    cluster.connectAll();
    expect(executing("pod-1")).toEqual([2]);
    clock.advance(299);
    expect(executing("pod-1")).toEqual([2]);
    clock.advance(1);
    expect([executing("pod-1"), scheduler.depth]).toEqual([[2, 1], 0]);
  });

  test("of a function that its version does not have fails at once", async () => {
    const { call, failures } = await setUp();
    call({ fn: "unknown" });
    expect(failures()).toEqual([[1, "UNKNOWN_FUNCTION"]]);
  });
});

describe("an answer", () => {
  test("settles the call with its value, its measurements and its lines", async () => {
    const { call, cluster, clock, answer, settled, loaded } = await setUp();
    const entry = call();
    clock.advance(40);
    cluster.connect("pod-1");
    clock.advance(12);
    loaded("pod-1");
    const lines = [{ at: 1, level: "info", text: "paid" } as const];
    answer(entry, { lines });
    const metrics = { durationMs: 3, cpuMs: 1, queueMs: 40, memoryMb: 60, coldStart: true, coldStartMs: 52, pod: "pod-1" };
    expect(settled).toEqual([{ seq: 1, outcome: { value: "7", metrics, lines } }]);
    answer(call());
    expect(settled[1]?.outcome.metrics).toMatchObject({ coldStart: false, queueMs: 0 });
  });

  test("with a failure settles it with that", async () => {
    const { call, cluster, answer, settled } = await setUp();
    const failure: Failure = { code: "FUNCTION_FAILED", message: "no" };
    const entry = call();
    cluster.connect("pod-1");
    answer(entry, { value: "", failure: JSON.stringify(failure) });
    expect(settled).toMatchObject([{ seq: 1, outcome: { failure } }]);
    expect(settled[0]?.outcome.value).toBeUndefined();
  });

  test("counts once (S1): a second one, one of nobody's lease and one from another pod change nothing", async () => {
    const { call, cluster, answer, settled } = await setUp();
    const [mine, other] = [call({ version: "v1" }), call({ version: "v2" })];
    cluster.connectAll();
    answer({ ...mine, pod: other.pod });
    expect(settled).toEqual([]);
    answer(mine);
    answer(mine);
    answer({ ...mine, lease: 999 });
    expect(settled).toHaveLength(1);
  });
});

describe("the concurrency limit", () => {
  test("holds over pods and versions, and each end lets the next one go, of whichever version", async () => {
    const { call, cluster, clock, answer, executing } = await setUp({}, { specs: { pay: { concurrency: 2 } } });
    const calls = ["v1", "v2", "v2", "v1"].map((version) => call({ version }));
    cluster.connectAll();
    expect([executing("pod-1"), executing("pod-2")]).toEqual([[1, 4], []]);
    answer(calls[0]!);
    clock.advance(50);
    expect([executing("pod-1"), executing("pod-2")]).toEqual([[1, 4], [2]]);
    answer(calls[1]!);
    expect(executing("pod-2")).toEqual([2, 3]);
  });

  test("is shared by versions in the order of arrival: the backlog of one starves no other", async () => {
    const { call, cluster, clock, answer, settled } = await setUp({}, { specs: { pay: { concurrency: 1 } } });
    const calls = ["v1", "v1", "v2", "v1", "v2"].map((version) => {
      clock.advance(1);
      return call({ version });
    });
    for (let i = 0; i < 5; i++) {
      cluster.connectAll();
      const [executing] = calls.filter(({ state }) => state === "leased");
      answer(executing!);
    }
    expect(settled.map(({ seq }) => seq)).toEqual([1, 2, 3, 4, 5]);
  });

  test("does not have pods started for calls that may not execute", async () => {
    const { call, cluster, clock } = await setUp({ patienceMs: 0 }, { specs: { pay: { concurrency: 2 } } });
    for (let i = 0; i < 10; i++) call();
    cluster.connectAll();
    clock.advance(5_000);
    expect(cluster.created).toBe(1);
  });

  test("is free again when the pod of a call dies or the call takes too long", async () => {
    const { call, cluster, clock, executing } = await setUp({ slotsPerPod: 4 }, { specs: { pay: { concurrency: 1 } } });
    call({ timeoutMs: 100 });
    call({ timeoutMs: 100 });
    call({ timeoutMs: 100 });
    cluster.connectAll();
    clock.advance(100);
    expect(executing("pod-1")).toEqual([1, 2]);
    cluster.die("pod-1");
    cluster.connectAll();
    expect(executing("pod-2")).toEqual([3]);
  });
});

describe("a timeout", () => {
  test("fails the call, tells its pod, and counts a late answer no more", async () => {
    const { call, cluster, clock, answer, failures, settled } = await setUp({ slotsPerPod: 4 });
    const entry = call({ timeoutMs: 1_000 });
    cluster.connect("pod-1");
    clock.advance(999);
    expect(settled).toEqual([]);
    clock.advance(1);
    expect(failures()).toEqual([[1, "CALL_TIMEOUT"]]);
    expect(cluster.to("pod-1", "abort")).toEqual([{ t: "abort", lease: entry.lease, reason: settled[0]!.outcome.failure!.message }]);
    answer(entry);
    expect(settled).toHaveLength(1);
  });

  test("is not concluded from a pause of our own: what was answered meanwhile is read first", async () => {
    const { call, cluster, clock, answer, settled, failures } = await setUp();
    const [answered] = [call({ timeoutMs: 1_000 }), call({ timeoutMs: 1_000 })];
    cluster.connect("pod-1");
    clock.pause(60_000);
    clock.advance(0);
    expect(settled).toEqual([]);
    answer(answered!);
    clock.advance(10);
    expect(failures()).toEqual([
      [1, undefined],
      [2, "CALL_TIMEOUT"],
    ]);
  });

  test("is concluded all the same when pauses of our own never end", async () => {
    const { call, cluster, clock, failures } = await setUp();
    call({ timeoutMs: 1_000 });
    cluster.connect("pod-1");
    for (let i = 0; i < 2; i++) {
      clock.pause(60_000);
      clock.advance(0);
    }
    expect(failures()).toEqual([[1, "CALL_TIMEOUT"]]);
  });

  test("counts from the dispatch, for each call by its own", async () => {
    const { call, cluster, clock, failures } = await setUp({ slotsPerPod: 10 });
    call({ timeoutMs: 300 });
    clock.advance(1_000);
    cluster.connect("pod-1");
    call({ timeoutMs: 100 });
    clock.advance(50);
    call({ timeoutMs: 100 });
    clock.advance(50);
    expect(failures()).toEqual([[2, "CALL_TIMEOUT"]]);
    clock.advance(50);
    expect(failures()).toHaveLength(2);
    clock.advance(150);
    expect(failures().map(([seq]) => seq)).toEqual([2, 3, 1]);
  });

  test("keeps the slot taken until the attempt ends at last", async () => {
    const { call, cluster, clock, answer, executing } = await setUp({ slotsPerPod: 4, maxPodsPerFunction: 1 });
    const late = call({ timeoutMs: 100 });
    cluster.connect("pod-1");
    clock.advance(100);
    for (let i = 0; i < 4; i++) call();
    expect(executing("pod-1")).toEqual([1, 2, 3, 4]);
    answer(late);
    expect(executing("pod-1")).toEqual([1, 2, 3, 4, 5]);
  });

  test("of half the slots of a pod replaces it, after it has finished the rest", async () => {
    const { call, cluster, clock, answer, settled, executing } = await setUp({ slotsPerPod: 4 });
    call({ timeoutMs: 100 });
    call({ timeoutMs: 100 });
    const good = call();
    cluster.connect("pod-1");
    clock.advance(100);
    expect(cluster.deleted).toMatchObject([{ pod: "pod-1", reason: "deleted" }]);
    expect(cluster.deleted[0]!.graceMs).toBeGreaterThan(0);
    call();
    cluster.connectAll();
    expect(executing("pod-2")).toEqual([4]);
    answer(good);
    expect(settled.at(-1)).toMatchObject({ seq: 3, outcome: { value: "7" } });
    clock.advance(0);
    expect(cluster.pods).toEqual(["pod-2"]);
  });

  test("in a pod whose event loop stands still ends that pod at once", async () => {
    const { call, cluster, clock } = await setUp({ slotsPerPod: 8 });
    call({ timeoutMs: 1_000 });
    cluster.connect("pod-1");
    cluster.beat("pod-1", { blockedMs: 900 });
    expect(cluster.deleted).toEqual([]);
    clock.advance(1_000);
    cluster.beat("pod-1", { blockedMs: 1_000 });
    expect(cluster.deleted).toMatchObject([{ pod: "pod-1", graceMs: 0, reason: "killed" }]);
  });

  test("of a call that executes alone ends its pod at once: no other call may meet it", async () => {
    const { call, cluster, clock, executing } = await setUp({ slotsPerPod: 8 });
    call({ solo: true, timeoutMs: 1_000 });
    cluster.connect("pod-1");
    clock.advance(1_000);
    call();
    cluster.connectAll();
    expect([cluster.deleted[0], executing("pod-1"), executing("pod-2")]).toEqual([
      { pod: "pod-1", graceMs: 0, reason: "killed" },
      [1],
      [2],
    ]);
  });
});

describe("the end of a pod", () => {
  test("gives its calls back at once, each with the reason, and starts another pod for what waits", async () => {
    const { call, cluster, settled, executing, failures } = await setUp();
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
    const { call, cluster, settled } = await setUp();
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
    const { call, cluster, clock, executing } = await setUp({ patienceMs: 0 }, { specs: { pay: { concurrency: 3 } } });
    for (let i = 0; i < 4; i++) call();
    cluster.connect("pod-1");
    clock.advance(50);
    cluster.connect("pod-2");
    expect([executing("pod-1"), executing("pod-2")]).toEqual([[1, 2], [3]]);
    cluster.die("pod-1");
    expect(executing("pod-2")).toEqual([3, 4]);
  });

  test("does not touch the calls in other pods", async () => {
    const { call, cluster, answer, settled } = await setUp();
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

describe("a call that executes alone", () => {
  test("gets an empty pod, and no other call joins it", async () => {
    const { call, cluster, clock, answer, executing } = await setUp({ slotsPerPod: 4 });
    const first = call();
    cluster.connect("pod-1");
    const suspect = call({ solo: true });
    call();
    expect(executing("pod-1")).toEqual([1]);
    clock.advance(200);
    cluster.connectAll();
    expect([executing("pod-1"), executing("pod-2")]).toEqual([[1, 3], [2]]);
    answer(suspect);
    answer(first);
    call();
    expect(executing("pod-2")).toEqual([2, 4]);
  });

  test("waits for its pod to be empty when there may be no second one", async () => {
    const { call, cluster, clock, answer, executing } = await setUp({ slotsPerPod: 4, maxPodsPerFunction: 1 });
    const first = call();
    cluster.connect("pod-1");
    const suspect = call({ solo: true });
    call();
    clock.advance(5_000);
    expect([executing("pod-1"), cluster.created]).toEqual([[1], 1]);
    answer(first);
    expect(executing("pod-1")).toEqual([1, 2]);
    answer(suspect);
    expect(executing("pod-1")).toEqual([1, 2, 3]);
  });
});

describe("withdrawing", () => {
  test("a call that waits takes it out, and nothing is settled", async () => {
    const { call, cluster, scheduler, settled, executing } = await setUp();
    const entry = call();
    call();
    scheduler.withdraw(entry, "no longer needed");
    cluster.connect("pod-1");
    expect([executing("pod-1"), settled]).toEqual([[2], []]);
    scheduler.withdraw(entry, "again");
    expect(cluster.to("pod-1", "abort")).toEqual([]);
  });

  test("one that waits for its time", async () => {
    const { call, clock, cluster, scheduler } = await setUp();
    scheduler.withdraw(call({ notBefore: clock.now() + 100 }), "no longer needed");
    clock.advance(1_000);
    expect([cluster.created, scheduler.depth]).toEqual([0, 0]);
  });

  test("one that executes tells its pod to stop it, drops its outcome, and frees its slot only with that", async () => {
    const { call, cluster, scheduler, settled, answer, executing } = await setUp({ maxPodsPerFunction: 1 });
    const entry = call();
    call();
    call();
    cluster.connect("pod-1");
    scheduler.withdraw(entry, "no longer needed");
    expect(cluster.to("pod-1", "abort")).toEqual([{ t: "abort", lease: entry.lease, reason: "no longer needed" }]);
    expect(executing("pod-1")).toEqual([1, 2]);
    answer(entry);
    expect([executing("pod-1"), settled]).toEqual([[1, 2, 3], []]);
  });

  test("one that executes alone ends its pod", async () => {
    const { call, cluster, scheduler } = await setUp();
    const entry = call({ solo: true });
    cluster.connect("pod-1");
    scheduler.withdraw(entry, "no longer needed");
    expect(cluster.deleted).toMatchObject([{ pod: "pod-1", graceMs: 0, reason: "deleted" }]);
  });

  test("calls whose code goes on for ever does not keep others from executing: the pod is replaced when they have waited for it", async () => {
    const { call, clock, cluster, scheduler, executing } = await setUp({ maxPodsPerFunction: 1 });
    const entries = [call(), call()];
    cluster.connect("pod-1");
    for (const entry of entries) scheduler.withdraw(entry, "no longer needed");
    clock.advance(5_000);
    expect(cluster.deleted).toEqual([]);
    call();
    clock.advance(950);
    expect(cluster.deleted).toEqual([]);
    clock.advance(100);
    cluster.connectAll();
    expect([cluster.deleted, executing("pod-2")]).toEqual([[{ pod: "pod-1", graceMs: 0, reason: "deleted" }], [3]]);
  });
});

test("calls that wait for their function's limit, and not for slots, cost no pod its life", async () => {
  const { call, clock, cluster, scheduler, executing } = await setUp({}, { specs: { pay: { concurrency: 1 } } });
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
    const { call, cluster, clock, executing } = await setUp();
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
    const { call, cluster, clock, answer } = await setUp();
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
    const { call, cluster, clock, answer, executing } = await setUp({ slotsPerPod: 3 });
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
    const { call, cluster, clock } = await setUp();
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
    const { call, cluster, clock, executing, settled, loaded } = await setUp();
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
    const { call, cluster, clock, refuse, failures } = await setUp();
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
    const { call, cluster, refuse, executing, failures } = await setUp({}, { triesAgain: true });
    call();
    call();
    cluster.connect("pod-1");
    refuse("pod-1");
    expect([failures().length, executing("pod-1")]).toEqual([2, [1, 2]]);
  });
});

describe("a machine without room", () => {
  test("lets calls wait until a pod goes, and then serves them", async () => {
    const { call, cluster, clock, answer, executing } = await setUp({}, { maxPods: 1 });
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
    const { call, cluster, clock, answer, settled } = await setUp({}, { maxPods: 1, specs: { big: { memoryMb: 512 } } });
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
  const { call, cluster, clock, scheduler, answer } = await setUp({ maxPodsPerFunction: 1 });
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
  const { call, cluster, scheduler, answer } = await setUp();
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
    const { call, cluster, answer } = await setUp({}, { placement });
    const entry = call();
    cluster.connect("pod-1");
    answer(entry);
    cluster.die("pod-1");
    call();
    expect(placement.sets[1]).toBe(placement.sets[0]);
  });

  test("that is let go twice takes no calls with it that came in between", async () => {
    const placement = placing();
    const { call, clock, cluster, answer, scheduler, executing } = await setUp({}, { placement });
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
  const { call, scheduler, cluster } = await setUp({}, { specs: { big: { memoryMb: 512 } } });
  expect(["pay", "big", "unknown"].map((fn) => scheduler.takesWarm(fn, "v1"))).toEqual([true, false, false]);
  call();
  expect([scheduler.takesWarm("pay", "v1"), scheduler.takesWarm("pay", "v2")]).toEqual([false, true]);
  cluster.connectAll();
  expect(scheduler.takesWarm("pay", "v1")).toBe(false);
});

test("draining dispatches nothing more and ends with the last call, or with its patience", async () => {
  const { call, cluster, clock, scheduler, answer, executing } = await setUp();
  const first = call();
  cluster.connect("pod-1");
  let ended = false;
  const draining = scheduler.drain(10_000).then(() => {
    ended = true;
  });
  call();
  await clock.elapse(5_000);
  expect([executing("pod-1"), ended]).toEqual([[1], false]);
  answer(first);
  await draining;
  expect(executing("pod-1")).toEqual([1]);

  const other = await setUp();
  other.call();
  other.cluster.connect("pod-1");
  const patience = other.scheduler.drain(1_000);
  await other.clock.elapse(1_000);
  await patience;
});

test("when it is stopped it leaves no timer", async () => {
  const { call, cluster, clock, scheduler, fleet } = await setUp();
  call();
  cluster.connect("pod-1");
  scheduler.stop();
  await fleet.stop();
  clock.advance(0);
  expect(clock.timers).toBe(0);
});
