import { describe, expect, test } from "vitest";
import { FakeCluster } from "../../test/support/fake-cluster.ts";
import type { FromPod, ToPod } from "../protocol/pod.ts";
import type { Entry } from "../queue/machine.ts";
import { createStepClock } from "../testing/step-clock.ts";
import { Fleet } from "./fleet.ts";
import type { Outcome } from "./service.ts";
import { Scheduler } from "./service.ts";

const setUp = async () => {
  const clock = createStepClock(1_000_000);
  const cluster = new FakeCluster(clock);
  const fleetOptions = { warmPods: 0, defaultMemoryMb: 256, maxPods: 9, hangMs: 3_600_000, idleMs: 3_600_000, memoryHeadroomMb: 100 };
  const fleet = new Fleet(cluster, clock, fleetOptions, { started: () => {}, stopped: () => {} });
  const settled: { seq: number; outcome: Outcome }[] = [];
  const served: unknown[] = [];
  const options = { slotsPerPod: 9, maxPodsPerFunction: 3, defaultMemoryMb: 256, patienceMs: 100 };
  const scheduler = new Scheduler(
    fleet,
    clock,
    options,
    (fn) => ({ application: "shop", path: "/bundle", spec: { name: fn } }),
    (entry, outcome) => void settled.push({ seq: entry.seq, outcome }),
    {
      request: (entry, { lease, id, ask }, reply) => {
        served.push(["request", entry.seq, ask.op]);
        reply({ t: "reply", lease, id, value: "7", failure: "" });
      },
      progress: (entry, value) => void served.push(["progress", entry.seq, value]),
      withdrawn: (entry) => void served.push(["withdrawn", entry.seq]),
    },
  );
  await fleet.start();
  scheduler.start();
  let seqs = 0;
  const call = (given: Partial<Entry> = {}): Entry => {
    const base = {
      run: "run_1",
      attempt: 1,
      fn: "pay",
      version: "v1",
      input: "1",
      priority: 0,
      timeoutMs: 1_000,
      solo: false,
      notBefore: 0,
    };
    const entry = { ...base, seq: ++seqs, state: "waiting", waitingSince: 0, lease: 0, pod: "", leasedAt: 0, ...given } as Entry;
    scheduler.enqueue(entry);
    cluster.connectAll();
    return entry;
  };
  const say = ({ pod, lease }: Entry, message: object): void => cluster.say(pod, { lease, ...message } as FromPod);
  const replies = (pod: string): (ToPod & { t: "reply" })[] => cluster.to(pod, "reply");
  return { clock, cluster, scheduler, settled, served, call, say, replies };
};

const ASK = { t: "request", id: 4, ask: { op: "get", key: "orders/1" } };

describe("what an attempt asks and tells", () => {
  test("goes to whom serves attempts, and the answer to its pod", async () => {
    const { call, say, served, replies } = await setUp();
    const entry = call();
    say(entry, ASK);
    say(entry, { t: "progress", value: "5" });
    expect(served).toEqual([
      ["request", 1, "get"],
      ["progress", 1, "5"],
    ]);
    expect(replies(entry.pod)).toEqual([{ t: "reply", lease: entry.lease, id: 4, value: "7", failure: "" }]);
  });

  test("is answered with a failure once it was given up, so that its code doesn't wait for ever", async () => {
    const { call, say, served, replies, clock } = await setUp();
    const entry = call();
    const given = { ...entry };
    clock.advance(1_001);
    say(given, ASK);
    say(given, { t: "progress", value: "5" });
    expect(served).toEqual([]);
    expect(JSON.parse(replies(given.pod)[0]!.failure)).toMatchObject({ code: "CALL_CANCELLED" });
  });

  test("under the lease of another pod is nobody's", async () => {
    const { call, say, served, cluster } = await setUp();
    const [pay, ship] = [call(), call({ fn: "ship" })];
    expect(pay.pod).not.toBe(ship.pod);
    say({ ...ship, lease: pay.lease }, ASK);
    say({ ...ship, lease: pay.lease }, { t: "progress", value: "5" });
    expect(served).toEqual([]);
    expect(cluster.to(pay.pod, "reply")).toEqual([]);
  });

  test("ends with its withdrawal, of which the server is told", async () => {
    const { call, scheduler, served } = await setUp();
    const entry = call();
    scheduler.withdraw(entry, "no longer needed");
    expect(served).toEqual([["withdrawn", 1]]);
    const waiting = call({ notBefore: 2_000_000 });
    scheduler.withdraw(waiting, "no longer needed");
    expect(served).toHaveLength(1);
  });
});

test("an attempt is told what it undoes, and how far the one before it came; a plain one of neither", async () => {
  const { call, cluster } = await setUp();
  const plain = call();
  call({ seq: -3, undo: "5", progress: "6" });
  const [first, second] = cluster.to(plain.pod, "invoke");
  expect(Object.keys(first!)).not.toContain("undo");
  expect(Object.keys(first!)).not.toContain("progress");
  expect(second).toMatchObject({ seq: -3, undo: "5", progress: "6" });
});

test("what a result wants to have changed comes with the outcome", async () => {
  const { call, say, settled } = await setUp();
  const entry = call();
  const result = { t: "result", value: "1", failure: "", durationMs: 1, cpuMs: 1, memoryMb: 1, lines: [] };
  say(entry, { ...result, writes: [{ key: "a/1", value: "2" }], objects: [{ op: "put", handle: 1 }] });
  expect(settled[0]?.outcome).toMatchObject({ writes: [{ key: "a/1", value: "2" }], objects: [{ op: "put", handle: 1 }] });
  say(call(), result);
  expect(Object.keys(settled[1]!.outcome)).not.toContain("writes");
});
