import { describe, expect, test } from "vitest";
import { setUpScheduler } from "../../test/support/scheduler.ts";
import type { Failure } from "../lib/errors.ts";

describe("dispatch", () => {
  test("starts a pod for the first call, and sends the call as soon as it is connected", async () => {
    const { call, cluster, executing } = await setUpScheduler({}, { specs: { pay: { memoryMb: 512 } } });
    const entry = call({ timeoutMs: 500, input: '{"a":1}' });
    expect([cluster.specs.get("pod-1"), executing("pod-1")]).toEqual([{ id: "pod-1", memoryMb: 512 }, []]);
    cluster.connect("pod-1");
    const invoke = { t: "invoke", lease: entry.lease, fn: "pay", input: '{"a":1}', run: entry.run, seq: 1, attempt: 1, timeoutMs: 500 };
    expect(cluster.sent.get("pod-1")).toEqual([{ t: "load", version: "v1", path: "/bundles/pay" }, invoke]);
    expect(entry).toMatchObject({ state: "leased", pod: "pod-1" });
  });

  test("fills no pod beyond its slots, and goes on as soon as one comes free", async () => {
    const { call, cluster, answer, executing } = await setUpScheduler();
    const [first] = [1, 2, 3].map(() => call());
    cluster.connect("pod-1");
    expect(executing("pod-1")).toEqual([1, 2]);
    answer(first!);
    expect(executing("pod-1")).toEqual([1, 2, 3]);
  });

  test("goes to the pod with the least to do", async () => {
    const { call, cluster, clock, answer, executing } = await setUpScheduler({ slotsPerPod: 3, patienceMs: 0 });
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
    const { call, cluster, executing } = await setUpScheduler();
    call({ version: "v1" });
    call({ version: "v2" });
    cluster.connectAll();
    expect([executing("pod-1"), executing("pod-2")]).toEqual([[1], [2]]);
    expect(cluster.to("pod-2", "load")).toMatchObject([{ version: "v2" }]);
  });

  test("keeps a call back until its time", async () => {
    const { call, cluster, clock, executing, scheduler } = await setUpScheduler();
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
    const { call, failures } = await setUpScheduler();
    call({ fn: "unknown" });
    expect(failures()).toEqual([[1, "UNKNOWN_FUNCTION"]]);
  });
});

describe("an answer", () => {
  test("settles the call with its value, its measurements and its lines", async () => {
    const { call, cluster, clock, answer, settled, loaded } = await setUpScheduler();
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
    const { call, cluster, answer, settled } = await setUpScheduler();
    const failure: Failure = { code: "FUNCTION_FAILED", message: "no" };
    const entry = call();
    cluster.connect("pod-1");
    answer(entry, { value: "", failure: JSON.stringify(failure) });
    expect(settled).toMatchObject([{ seq: 1, outcome: { failure } }]);
    expect(settled[0]?.outcome.value).toBeUndefined();
  });

  test("counts once (S1): a second one, one of nobody's lease and one from another pod change nothing", async () => {
    const { call, cluster, answer, settled } = await setUpScheduler();
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
    const { call, cluster, clock, answer, executing } = await setUpScheduler({}, { specs: { pay: { concurrency: 2 } } });
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
    const { call, cluster, clock, answer, settled } = await setUpScheduler({}, { specs: { pay: { concurrency: 1 } } });
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
    const { call, cluster, clock } = await setUpScheduler({ patienceMs: 0 }, { specs: { pay: { concurrency: 2 } } });
    for (let i = 0; i < 10; i++) call();
    cluster.connectAll();
    clock.advance(5_000);
    expect(cluster.created).toBe(1);
  });

  test("is free again when the pod of a call dies or the call takes too long", async () => {
    const { call, cluster, clock, executing } = await setUpScheduler({ slotsPerPod: 4 }, { specs: { pay: { concurrency: 1 } } });
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
    const { call, cluster, clock, answer, failures, settled } = await setUpScheduler({ slotsPerPod: 4 });
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
    const { call, cluster, clock, answer, settled, failures } = await setUpScheduler();
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
    const { call, cluster, clock, failures } = await setUpScheduler();
    call({ timeoutMs: 1_000 });
    cluster.connect("pod-1");
    for (let i = 0; i < 2; i++) {
      clock.pause(60_000);
      clock.advance(0);
    }
    expect(failures()).toEqual([[1, "CALL_TIMEOUT"]]);
  });

  test("counts from the dispatch, for each call by its own", async () => {
    const { call, cluster, clock, failures } = await setUpScheduler({ slotsPerPod: 10 });
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
    const { call, cluster, clock, answer, executing } = await setUpScheduler({ slotsPerPod: 4, maxPodsPerFunction: 1 });
    const late = call({ timeoutMs: 100 });
    cluster.connect("pod-1");
    clock.advance(100);
    for (let i = 0; i < 4; i++) call();
    expect(executing("pod-1")).toEqual([1, 2, 3, 4]);
    answer(late);
    expect(executing("pod-1")).toEqual([1, 2, 3, 4, 5]);
  });

  test("of half the slots of a pod replaces it, after it has finished the rest", async () => {
    const { call, cluster, clock, answer, settled, executing } = await setUpScheduler({ slotsPerPod: 4 });
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
    const { call, cluster, clock } = await setUpScheduler({ slotsPerPod: 8 });
    call({ timeoutMs: 1_000 });
    cluster.connect("pod-1");
    cluster.beat("pod-1", { blockedMs: 900 });
    expect(cluster.deleted).toEqual([]);
    clock.advance(1_000);
    cluster.beat("pod-1", { blockedMs: 1_000 });
    expect(cluster.deleted).toMatchObject([{ pod: "pod-1", graceMs: 0, reason: "killed" }]);
  });

  test("of a call that executes alone ends its pod at once: no other call may meet it", async () => {
    const { call, cluster, clock, executing } = await setUpScheduler({ slotsPerPod: 8 });
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

describe("a call that executes alone", () => {
  test("gets an empty pod, and no other call joins it", async () => {
    const { call, cluster, clock, answer, executing } = await setUpScheduler({ slotsPerPod: 4 });
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
    const { call, cluster, clock, answer, executing } = await setUpScheduler({ slotsPerPod: 4, maxPodsPerFunction: 1 });
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
    const { call, cluster, scheduler, settled, executing } = await setUpScheduler();
    const entry = call();
    call();
    scheduler.withdraw(entry, "no longer needed");
    cluster.connect("pod-1");
    expect([executing("pod-1"), settled]).toEqual([[2], []]);
    scheduler.withdraw(entry, "again");
    expect(cluster.to("pod-1", "abort")).toEqual([]);
  });

  test("one that waits for its time", async () => {
    const { call, clock, cluster, scheduler } = await setUpScheduler();
    scheduler.withdraw(call({ notBefore: clock.now() + 100 }), "no longer needed");
    clock.advance(1_000);
    expect([cluster.created, scheduler.depth]).toEqual([0, 0]);
  });

  test("one that executes tells its pod to stop it, drops its outcome, and frees its slot only with that", async () => {
    const { call, cluster, scheduler, settled, answer, executing } = await setUpScheduler({ maxPodsPerFunction: 1 });
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
    const { call, cluster, scheduler } = await setUpScheduler();
    const entry = call({ solo: true });
    cluster.connect("pod-1");
    scheduler.withdraw(entry, "no longer needed");
    expect(cluster.deleted).toMatchObject([{ pod: "pod-1", graceMs: 0, reason: "deleted" }]);
  });

  test("calls whose code goes on for ever does not keep others from executing: the pod is replaced when they have waited for it", async () => {
    const { call, clock, cluster, scheduler, executing } = await setUpScheduler({ maxPodsPerFunction: 1 });
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

test("draining dispatches nothing more and ends with the last call, or with its patience", async () => {
  const { call, cluster, clock, scheduler, answer, executing } = await setUpScheduler();
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

  const other = await setUpScheduler();
  other.call();
  other.cluster.connect("pod-1");
  const patience = other.scheduler.drain(1_000);
  await other.clock.elapse(1_000);
  await patience;
});

test("when it is stopped it leaves no timer", async () => {
  const { call, cluster, clock, scheduler, fleet } = await setUpScheduler();
  call();
  cluster.connect("pod-1");
  scheduler.stop();
  await fleet.stop();
  clock.advance(0);
  expect(clock.timers).toBe(0);
});
