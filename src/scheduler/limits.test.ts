import { describe, expect, test } from "vitest";
import { FakeCluster } from "../../test/support/fake-cluster.ts";
import type { FunctionSpec } from "../protocol/application.ts";
import type { Entry } from "../queue/machine.ts";
import { createStepClock } from "../testing/step-clock.ts";
import { Fleet } from "./fleet.ts";
import type { AttemptService, Outcome } from "./service.ts";
import { Scheduler } from "./service.ts";

const setUp = async (spec: Partial<FunctionSpec>) => {
  const clock = createStepClock(1_000_000);
  const cluster = new FakeCluster(clock);
  const fleetOptions = { warmPods: 0, defaultMemoryMb: 256, maxPods: 20, hangMs: 3_600_000, idleMs: 3_600_000, memoryHeadroomMb: 100 };
  const fleet = new Fleet(cluster, clock, fleetOptions, { started: () => {}, stopped: () => {} });
  const log: string[] = [];
  const settled = ({ seq, attempt }: Entry, { failure }: Outcome): void => void log.push(`${seq}/${attempt} ${failure?.code ?? "ok"}`);
  const attempts: AttemptService = {
    request: () => {},
    progress: ({ seq }, value) => void log.push(`${seq} told ${value}`),
    withdrawn: ({ seq }) => void log.push(`${seq} withdrawn`),
  };
  const home = () => ({ application: "shop", path: "", spec: { name: "pay", ...spec } });
  const options = { slotsPerPod: 10, maxPodsPerFunction: 3, defaultMemoryMb: 256, patienceMs: 100 };
  const scheduler = new Scheduler(fleet, clock, options, home, settled, attempts);
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
  const tell = ({ pod, lease }: Entry, value: unknown): void => cluster.say(pod, { t: "progress", lease, value: JSON.stringify(value) });
  const answer = ({ pod, lease }: Entry, failure = ""): void =>
    cluster.say(pod, { t: "result", lease, value: "7", failure, durationMs: 3, cpuMs: 1, memoryMb: 60, lines: [] });
  const executing = (): number[] => cluster.pods.flatMap((pod) => cluster.to(pod, "invoke").map(({ seq }) => seq));
  return { clock, cluster, scheduler, log, call, tell, answer, executing };
};

const FAILED = JSON.stringify({ code: "FUNCTION_FAILED", message: "no" });

describe("a function's pace", () => {
  test("lets waiting calls begin exactly when it may, without anything else happening", async () => {
    const { call, cluster, clock, executing, scheduler } = await setUp({ limits: { perSecond: 3 } });
    for (let i = 0; i < 5; i++) call();
    cluster.connectAll();
    expect([executing(), scheduler.views()[0]?.throttled]).toEqual([[1, 2, 3], true]);
    clock.advance(333);
    expect(executing()).toEqual([1, 2, 3]);
    clock.advance(1);
    expect(executing()).toEqual([1, 2, 3, 4]);
    clock.advance(333);
    expect([executing(), scheduler.views()[0]?.throttled]).toEqual([[1, 2, 3, 4, 5], false]);
  });

  test("is not looked at again and again", async () => {
    const { call, cluster, clock } = await setUp({ limits: { perSecond: 0.01 } });
    call();
    call();
    cluster.connectAll();
    let timers = 0;
    const { after } = clock;
    clock.after = (ms, callback, kind) => {
      if (kind !== "upkeep") timers++;
      return after.call(clock, ms, callback, kind);
    };
    clock.advance(99_000);
    expect(timers).toBeLessThan(5);
  });

  test("is shared by versions in the order in which their calls came", async () => {
    const { call, cluster, clock, executing } = await setUp({ limits: { perSecond: 1 } });
    for (const version of ["v2", "v1", "v2", "v1", "v1"]) {
      call({ version });
      clock.advance(1);
    }
    cluster.connectAll();
    clock.advance(10_000);
    expect(executing().toSorted((a, b) => a - b)).toEqual([1, 2, 3, 4, 5]);
    const of = (pod: string) => cluster.to(pod, "invoke").map(({ seq }) => seq);
    expect([of("pod-1"), of("pod-2")]).toEqual([
      [1, 3],
      [2, 4, 5],
    ]);
  });

  test("holds for calls whose delay has passed", async () => {
    const { call, cluster, clock, executing } = await setUp({ limits: { perSecond: 1 } });
    for (let i = 0; i < 3; i++) call({ notBefore: clock.now() + 100 });
    clock.advance(100);
    cluster.connectAll();
    expect(executing()).toEqual([1]);
    clock.advance(2_000);
    expect(executing()).toEqual([1, 2, 3]);
  });
});

describe("a heartbeat", () => {
  test("that stays away gives the attempt up like a timeout, with a message that names it", async () => {
    const { call, cluster, clock, log } = await setUp({ heartbeatMs: 300 });
    const entry = call();
    cluster.connectAll();
    clock.advance(299);
    expect(log).toEqual([]);
    clock.advance(1);
    expect([log, entry.state]).toEqual([["1/1 CALL_TIMEOUT"], "gone"]);
    expect(cluster.to("pod-1", "abort")).toMatchObject([{ lease: entry.lease, reason: expect.stringContaining("heartbeatMs") }]);
  });

  test("starts anew with each progress, of that attempt alone", async () => {
    const { call, cluster, clock, log, tell } = await setUp({ heartbeatMs: 300 });
    const [first] = [call(), call()];
    cluster.connectAll();
    clock.advance(200);
    tell(first!, "half");
    clock.advance(100);
    expect(log).toEqual(['1 told "half"', "2/1 CALL_TIMEOUT"]);
    clock.advance(199);
    tell(first!, "most");
    clock.advance(299);
    expect(log.slice(2)).toEqual(['1 told "most"']);
    clock.advance(1);
    expect(log.slice(3)).toEqual(["1/1 CALL_TIMEOUT"]);
  });

  test("doesn't keep an attempt beyond its timeout", async () => {
    const { call, cluster, clock, log, tell } = await setUp({ heartbeatMs: 300 });
    const entry = call({ timeoutMs: 500 });
    cluster.connectAll();
    for (let i = 0; i < 5; i++) {
      clock.advance(100);
      tell(entry, i);
    }
    expect(log.at(-1)).toBe("1/1 CALL_TIMEOUT");
  });

  test("of an attempt that has ended, or was withdrawn, is not missed", async () => {
    const { call, cluster, clock, log, answer, scheduler } = await setUp({ heartbeatMs: 300 });
    const [first, second] = [call(), call()];
    cluster.connectAll();
    answer(first!);
    scheduler.withdraw(second!, "no longer needed");
    clock.advance(1_000);
    expect(log).toEqual(["1/1 ok", "2 withdrawn"]);
  });

  test("is not missed because the platform itself stood still: what was told meanwhile is read first", async () => {
    const { call, cluster, clock, log, tell } = await setUp({ heartbeatMs: 300 });
    const [first] = [call(), call()];
    cluster.connectAll();
    const { now } = clock;
    // The sweep that was due at 300 ms comes 700 ms late.
    clock.now = () => now.call(clock) + 700;
    clock.advance(300);
    expect(log).toEqual([]);
    tell(first!, "alive");
    clock.advance(20);
    expect(log).toEqual(['1 told "alive"', "2/1 CALL_TIMEOUT"]);
  });
});

describe("progress", () => {
  test("is passed on at once, then at most every 100 ms, and the last in any case", async () => {
    const { call, cluster, clock, log, tell } = await setUp({});
    const entry = call();
    cluster.connectAll();
    for (let i = 0; i < 25; i++) {
      tell(entry, i);
      clock.advance(10);
    }
    expect(log).toEqual(["1 told 0", "1 told 9", "1 told 19"]);
    clock.advance(1_000);
    expect(log.slice(3)).toEqual(["1 told 24"]);
  });

  test("comes rarer the longer an attempt takes: every hundredth of its time", async () => {
    const { call, cluster, clock, log, tell } = await setUp({});
    const entry = call({ timeoutMs: 10 * 3_600_000 });
    cluster.connectAll();
    for (let i = 0; i < 3_600 * 4; i++) {
      tell(entry, i);
      clock.advance(250);
    }
    expect(log.length).toBeGreaterThan(300);
    expect(log.length).toBeLessThan(1_000);
  });

  test("of an attempt that fails is passed on before its failure, however it fails", async () => {
    const { call, cluster, clock, log, tell, answer } = await setUp({});
    const entries = [call(), call({ timeoutMs: 50 }), call(), call()];
    cluster.connectAll();
    for (const value of ["a", "b"]) for (const entry of entries) tell(entry, value);
    log.length = 0;
    answer(entries[0]!, FAILED);
    answer(entries[3]!);
    clock.advance(50);
    cluster.die("pod-1");
    expect(log).toEqual(['1 told "b"', "1/1 FUNCTION_FAILED", "4/1 ok", '2 told "b"', "2/1 CALL_TIMEOUT", '3 told "b"', "3/1 POD_LOST"]);
    clock.advance(1_000);
    expect(log.length).toBe(7);
  });

  test("of an attempt that is over, or of another pod's, counts for nothing", async () => {
    const { call, cluster, log, tell, answer } = await setUp({});
    const [old, fresh] = [call({ version: "v1" }), call({ version: "v2" })];
    cluster.connectAll();
    cluster.say(old!.pod, { t: "progress", lease: fresh!.lease, value: "1" });
    answer(old!);
    tell(old!, 2);
    expect(log).toEqual(["1/1 ok"]);
  });

  test("is passed on when the platform stops in order, although the attempt goes on", async () => {
    const { call, cluster, log, tell, scheduler } = await setUp({});
    const entry = call();
    cluster.connectAll();
    for (const value of ["a", "b", "c"]) tell(entry, value);
    scheduler.stop();
    expect(log).toEqual(['1 told "a"', '1 told "c"']);
  });

  test("that an earlier attempt told goes with the next one", async () => {
    const { call, cluster } = await setUp({});
    call({ attempt: 2, progress: '{"done":5}' });
    cluster.connectAll();
    expect(cluster.to("pod-1", "invoke")).toMatchObject([{ attempt: 2, progress: '{"done":5}' }]);
  });
});
