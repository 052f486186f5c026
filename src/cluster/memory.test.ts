import { expect, test } from "vitest";
import { systemClock } from "../lib/clock.ts";
import { collect } from "../pod/bundle.ts";
import { clusterConformance } from "../testing/cluster-conformance.ts";
import { clusterApplication, invoke, RecordingListener, readyPod } from "../testing/cluster-fixtures.ts";
import { MemoryCluster, type MemoryClusterOptions } from "./memory.ts";

const load = { t: "load", version: "v", path: "" } as const;

const create = (options: Partial<MemoryClusterOptions> = {}, clock = systemClock): MemoryCluster =>
  new MemoryCluster(
    { maxPayloadBytes: 1_000_000, maxLogBytes: 10_000, heartbeatMs: 20, load: () => collect({ default: clusterApplication }), ...options },
    clock,
  );

clusterConformance("memory", {
  test,
  open: async () => {
    const cluster = create();
    return { cluster, load, kill: ({ id }) => void cluster.kill(id), sharesProcess: true };
  },
});

const bench = async (options: Partial<MemoryClusterOptions> = {}) => {
  const cluster = create(options);
  const listener = new RecordingListener();
  await cluster.start(listener);
  return { cluster, listener, bench: { cluster, load, kill: () => {} } };
};

test("a pod that hangs neither beats nor answers, and is still there to be deleted", async () => {
  const { cluster, listener, bench: b } = await bench();
  await readyPod(b, listener, "a");
  await listener.until("beat", "a");
  expect(cluster.hang("a")).toBe(true);
  const beats = listener.count("beat", "a");
  cluster.send("a", invoke("echo"));
  await readyPod(b, listener, "b");
  await listener.until("beat", "b");
  expect([listener.count("beat", "a"), listener.count("message", "a")]).toEqual([beats, 1]);
  cluster.delete("a", 0, "hung");
  expect((await listener.until("gone", "a")).exit.reason).toBe("hung");
  await cluster.stop();
});

test("a pod whose event loop stands still beats on, and says for how long", async () => {
  const { cluster, listener, bench: b } = await bench();
  await readyPod(b, listener, "a");
  cluster.block("a");
  cluster.send("a", invoke("echo"));
  await listener.until("beat", "a", ({ beat }) => beat.t === "beat" && beat.blockedMs >= 40);
  expect(listener.count("message", "a")).toBe(1);
  await cluster.stop();
});

test("a pod that fails to start is gone without having connected", async () => {
  let failing = 1;
  const { cluster, listener, bench: b } = await bench({ failsToStart: () => failing-- > 0 });
  cluster.create({ id: "a", memoryMb: 64 });
  expect((await listener.until("gone", "a")).exit.reason).toBe("failed-to-start");
  await readyPod(b, listener, "b");
  await cluster.stop();
});

test("a pod that hangs while it starts is given up when the time for that is over", async () => {
  const { cluster, listener } = await bench({ startTimeoutMs: 30 });
  cluster.create({ id: "a", memoryMb: 64 });
  cluster.hang("a");
  expect((await listener.until("gone", "a")).exit.reason).toBe("failed-to-start");
  await cluster.stop();
});

test("a lost message is lost alone; a delayed one holds up those behind it", async () => {
  const lost = invoke("echo", '"lost"');
  const late = invoke("echo", '"late"');
  const behind = invoke("echo", '"behind"');
  const {
    cluster,
    listener,
    bench: b,
  } = await bench({
    disturb: (_pod, message) => (message === lost ? "lose" : message === late ? { delayMs: 30 } : undefined),
  });
  await readyPod(b, listener, "a");
  for (const call of [lost, late, behind]) cluster.send("a", call);
  await listener.result("a", behind.lease);
  const values = listener.heard.flatMap((heard) => (heard.t === "message" && heard.message.t === "result" ? [heard.message.value] : []));
  expect(values).toEqual(['"late"', '"behind"']);
  await cluster.stop();
});

test("a delayed message arrives although its timer fires before the time of day has come to it", async () => {
  const late = invoke("echo", '"late"');
  const early = { ...systemClock, after: (delayMs: number, callback: () => void) => systemClock.after(delayMs / 2, callback) };
  const cluster = create({ disturb: (_pod, message) => (message === late ? { delayMs: 30 } : undefined) }, early);
  const listener = new RecordingListener();
  await cluster.start(listener);
  await readyPod({ cluster, load, kill: () => {} }, listener, "a");
  cluster.send("a", late);
  expect((await listener.result("a", late.lease)).value).toBe('"late"');
  await cluster.stop();
});

test("an application that throws while it loads is refused with its error", async () => {
  const { cluster, listener } = await bench({
    load: () => {
      throw new Error("no such version");
    },
  });
  cluster.create({ id: "a", memoryMb: 64 });
  cluster.send("a", load);
  const { message } = await listener.until("message", "a");
  expect(message).toMatchObject({ t: "refused", version: "v", failure: expect.stringContaining("no such version") });
  await cluster.stop();
});
