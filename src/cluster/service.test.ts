import { describe, expect, test } from "vitest";
import { FakeCluster } from "../../test/support/fake-cluster.ts";
import { Registry } from "../application/registry.ts";
import type { FunctionSpec } from "../protocol/application.ts";
import type { ConditionType, ServiceVersionView } from "../protocol/cluster.ts";
import type { EventBody } from "../protocol/events.ts";
import type { StateChange, StateEntry } from "../protocol/state.ts";
import type { Entry } from "../queue/machine.ts";
import type { FleetOptions } from "../scheduler/fleet.ts";
import { Fleet } from "../scheduler/fleet.ts";
import { Scheduler } from "../scheduler/service.ts";
import { createStepClock } from "../testing/step-clock.ts";
import { ClusterService } from "./service.ts";
import type { Target } from "./targets.ts";

const V1 = "1".repeat(16);
const V2 = "2".repeat(16);
const NO_FORECAST = { arrivalsPerS: 0, serviceMs: 0, delayMs: 0, responseMs: 0 };
const LIMITS = { slotsPerPod: 4, maxPodsPerFunction: 8, maxPods: 20, podMemoryMb: 256, podIdleMs: 60_000 };

/** A cluster service with a real scheduler and fleet, over pods that the test moves; `kept` is what an earlier life has stored. */
const setUp = async (limits: Partial<typeof LIMITS> & { maxMemoryMb?: number } = {}, kept = new Map<string, StateEntry>(), epoch = 1) => {
  const clock = createStepClock(1_000_000);
  const cluster = new FakeCluster(clock);
  const defaults = { ...LIMITS, ...limits };
  const options: FleetOptions = { ...defaults, warmPods: 0, defaultMemoryMb: 256, hangMs: 1e9, idleMs: 1e9, memoryHeadroomMb: 100 };
  const fleet = new Fleet(cluster, clock, options, { started: () => {}, stopped: () => {} });
  const registry = new Registry();
  const events: EventBody[] = [];
  let versions = 0;
  let onDisk: (() => void)[] = [];
  const turn = {
    state: (changes: readonly StateChange[]): void => {
      for (const { key, value, version } of changes) {
        if (value === undefined) kept.delete(key);
        else kept.set(key, { key, value, version });
      }
    },
    event: (body: EventBody): void => void events.push(body),
    durable: () => new Promise<void>((resolve) => onDisk.push(resolve)),
  };
  /** All that was recorded is durable from now on. */
  const sync = (): void => {
    for (const resolve of onDisk) resolve();
    onDisk = [];
  };
  const service = new ClusterService({
    registry,
    fleet,
    cluster,
    epoch,
    clock,
    turn,
    rows: { list: async (_, prefix) => [...kept.values()].filter(({ key }) => key.startsWith(prefix)) },
    nextVersion: () => ++versions,
    defaults,
    mostStarting: 2,
  });
  const home = (fn: string, version: string) => {
    const spec = registry.spec(fn, version);
    return spec === undefined ? undefined : { application: "shop", path: `/bundles/${fn}`, spec };
  };
  const scheduling = { slotsPerPod: defaults.slotsPerPod, maxPodsPerFunction: 8, defaultMemoryMb: 256, patienceMs: 100 };
  const scheduler = new Scheduler(fleet, clock, scheduling, home, () => {}, undefined, service.placement);
  service.connect(scheduler, () => {});
  const deploy = (version: string, ...functions: (FunctionSpec | string)[]): void => {
    const specs = functions.map((spec) => (typeof spec === "string" ? { name: spec } : spec));
    registry.add({ application: "shop", version, manifest: { functions: specs, coordinators: [] }, deployedAt: 0, current: true });
  };
  const start = async (): Promise<void> => {
    await service.load();
    await fleet.start();
    scheduler.start();
    service.start();
  };
  let seqs = 0;
  const call = (fn = "pay", version = V1): Entry => {
    const fixed = { run: "run_00000000001", attempt: 1, input: "1", priority: 0, timeoutMs: 600_000, solo: false, notBefore: 0 };
    const entry: Entry = { ...fixed, seq: ++seqs, fn, version, state: "waiting", waitingSince: 0, lease: 0, pod: "", leasedAt: 0 };
    scheduler.enqueue(entry);
    return entry;
  };
  const answer = ({ lease, pod }: Entry): void =>
    cluster.say(pod, { t: "result", lease, value: "7", failure: "", durationMs: 3, cpuMs: 1, memoryMb: 60, lines: [] });
  /** What was started connects and loads its code, but for those named. */
  const connect = (except: readonly string[] = []): void => {
    cluster.connectAll();
    for (const pod of cluster.pods) {
      if (!except.includes(pod)) cluster.say(pod, { t: "loaded", version: V1, manifest: { functions: [], coordinators: [] }, ms: 1 });
    }
  };
  /** Time passes. */
  const live = (ms: number, each: () => void = connect): void => {
    for (let at = 0; at < ms; at += 50) {
      each();
      clock.advance(50);
    }
  };
  const version = (name = "pay"): ServiceVersionView => service.service(name).versions[0] as ServiceVersionView;
  const conditions = (name?: string): ConditionType[] => version(name).conditions.map(({ type }) => type);
  const told = (): [string, boolean][] =>
    events.flatMap((event) => (event.type === "service.condition" ? [[event.condition, event.holds] as [string, boolean]] : []));
  const put = (spec: Parameters<ClusterService["putService"]>[0], ifVersion?: number) => {
    const done = service.putService(spec, ifVersion);
    sync();
    return done;
  };
  return {
    clock,
    cluster,
    fleet,
    service,
    scheduler,
    registry,
    events,
    kept,
    deploy,
    start,
    call,
    answer,
    connect,
    live,
    sync,
    version,
    conditions,
    told,
    put,
  };
};

describe("specs", () => {
  test("a change is answered with what it has made, whatever another writer does before it is durable", async () => {
    const { service, deploy, start, sync } = await setUp();
    deploy(V1, "pay");
    await start();
    const mine = service.putService({ name: "pay", function: "pay", replicas: 1 });
    const theirs = service.putService({ name: "pay", function: "pay", replicas: 2 });
    const gone = service.deleteService("pay");
    sync();
    const [first, second] = await Promise.all([mine, theirs, gone]);
    expect([first.spec.replicas, second.spec.replicas]).toEqual([1, 2]);
    expect(second.resourceVersion).toBeGreaterThan(first.resourceVersion);
    expect(service.service("pay").default).toBe(true);
  });

  test("of two writers that have read the same, one is refused", async () => {
    const { service, deploy, start, put } = await setUp();
    deploy(V1, "pay");
    await start();
    const { resourceVersion } = await put({ name: "pay", function: "pay", replicas: 1 }, 0);
    const [a, b] = await Promise.allSettled([
      put({ name: "pay", function: "pay", replicas: 2 }, resourceVersion),
      put({ name: "pay", function: "pay", replicas: 3 }, resourceVersion),
    ]);
    expect([a.status, b.status]).toEqual(["fulfilled", "rejected"]);
    await expect(service.deleteService("pay", resourceVersion)).rejects.toMatchObject({ code: "PRECONDITION_FAILED" });
    expect(service.service("pay").spec.replicas).toBe(2);
  });

  test("one for a version alone needs a name of its own: that of the function has the service of all versions", async () => {
    const { service, deploy, start, put } = await setUp();
    deploy(V1, "pay");
    await start();
    await expect(service.createService({ name: "pay", function: "pay", version: V1 })).rejects.toMatchObject({ code: "SERVICE_EXISTS" });
    await put({ name: "pay-old", function: "pay", version: V1 });
    expect(service.services().map(({ spec }) => spec.name)).toEqual(["pay", "pay-old"]);
  });

  test("a function that is deployed later than a service of its name has another name for its own", async () => {
    const { service, deploy, start, put } = await setUp();
    deploy(V1, "pay");
    await start();
    await put({ name: "money", function: "pay" });
    deploy(V2, "pay", "money");
    expect(service.services().map(({ spec }) => [spec.name, spec.function])).toEqual([
      ["money", "pay"],
      ["money.default", "money"],
    ]);
    expect(service.service("money.default").spec.function).toBe("money");
    expect(() => service.service("pay.default")).toThrow("there is no service");
    expect(() => service.service("pay")).toThrow('behind service "money"');
  });

  test.each([
    [{ max: 2 }, { min: 2, max: 2 }],
    [{ min: 9 }, { min: 9, max: 9 }],
    [
      { min: 1, max: 2 },
      { min: 1, max: 2 },
    ],
    [{}, { min: 4, max: 6 }],
  ])("a bound that it says itself, as in %j, holds against the definition's other one", async (scale, expected) => {
    const { deploy, start, put } = await setUp();
    deploy(V1, { name: "pay", scale: { min: 4, max: 6 } });
    await start();
    expect((await put({ name: "pay", function: "pay", scale })).spec.scale).toMatchObject(expected);
  });
});

describe("pods that end before they have answered", () => {
  const crashing = async () => {
    const given = await setUp();
    given.deploy(V1, "pay");
    await given.start();
    await given.put({ name: "pay", function: "pay", replicas: 2 });
    given.live(500);
    return given;
  };
  const crash = ({ cluster }: Awaited<ReturnType<typeof setUp>>, except: readonly string[]): number => {
    const doomed = cluster.pods.filter((pod) => !except.includes(pod));
    for (const pod of doomed) cluster.die(pod, { output: "TypeError: no region" });
    return doomed.length;
  };

  test("are a loop with pauses although older pods go on to answer", async () => {
    const given = await crashing();
    const { cluster, call, answer, live, conditions, version, told } = given;
    const [healthy] = cluster.pods as [string];
    let starts = 0;
    for (let i = 0; i < 200; i++) {
      starts += crash(given, [healthy]);
      const entry = call();
      if (entry.pod === healthy) answer(entry);
      live(50);
    }
    // 10 s: 0, 0.1, 0.2 … 5 s of pause, and not a start each 50 ms.
    expect(starts).toBeGreaterThan(3);
    expect(starts).toBeLessThan(12);
    expect(conditions()).toContain("CrashLoop");
    expect(version().conditions.find(({ type }) => type === "CrashLoop")?.reason).toContain("TypeError: no region");
    expect(told()).toEqual([["CrashLoop", true]]);
  });

  test("are over with the answer of a younger one", async () => {
    const given = await crashing();
    const { cluster, call, answer, live, conditions } = given;
    const before = cluster.pods;
    for (let i = 0; i < 100; i++) {
      crash(given, []);
      live(50);
    }
    expect(conditions()).toContain("CrashLoop");
    live(6_000);
    const entry = call();
    expect(before).not.toContain(entry.pod);
    answer(entry);
    live(100);
    expect(conditions()).toEqual(["Ready"]);
  });

  test("are tried anew, without a pause, when what they are made by changes; old ones take calls meanwhile", async () => {
    const given = await crashing();
    const { cluster, put, live, conditions, version } = given;
    const healthy = cluster.pods;
    await put({ name: "pay", function: "pay", replicas: 2, environment: { REGION: "" } });
    for (let i = 0; i < 100; i++) {
      crash(given, healthy);
      live(50);
    }
    expect(conditions()).toEqual(["Ready", "Progressing", "CrashLoop"]);
    expect([version().ready, healthy.every((pod) => cluster.pods.includes(pod))]).toEqual([2, true]);
    await put({ name: "pay", function: "pay", replicas: 2, environment: { REGION: "north" } });
    expect(cluster.pods).toHaveLength(4);
    live(500);
    expect(conditions()).toEqual(["Ready"]);
    expect(cluster.pods.some((pod) => healthy.includes(pod))).toBe(false);
  });
});

test("a bundle that doesn't load with a new environment costs no pod of the old one", async () => {
  const { cluster, deploy, start, put, live, connect, conditions, version } = await setUp();
  deploy(V1, "pay");
  await start();
  await put({ name: "pay", function: "pay", replicas: 3 });
  live(1_000);
  const healthy = cluster.pods;
  await put({ name: "pay", function: "pay", replicas: 3, environment: { REGION: "" } });
  const failure = JSON.stringify({ code: "APPLICATION_INVALID", message: "no region" });
  const rest = (): string[] => cluster.pods.filter((pod) => !healthy.includes(pod));
  // Connected, but not loaded: for a tick or two it looks as if it were well.
  for (let i = 0; i < 50; i++) {
    connect(rest());
    live(200, () => {});
    for (const pod of rest()) if (cluster.connectedPods.has(pod)) cluster.say(pod, { t: "refused", version: V1, failure });
    live(200, () => {});
  }
  expect(healthy.every((pod) => cluster.pods.includes(pod))).toBe(true);
  expect([version().ready, conditions()]).toEqual([3, ["Ready", "Progressing", "CrashLoop"]]);
});

test("since when something holds is told the same at each look", async () => {
  const { service, deploy, start, clock } = await setUp();
  deploy(V1, "pay");
  await start();
  const { versions } = service.service("pay");
  clock.advance(5_000);
  expect(service.service("pay").versions).toEqual(versions);
});

describe("a machine that is full", () => {
  test("replaces pods one at a time, in place", async () => {
    const { cluster, deploy, start, put, live, connect, version, conditions, clock } = await setUp({ maxPods: 3 });
    deploy(V1, "pay");
    await start();
    await put({ name: "pay", function: "pay", replicas: 3 });
    live(1_000);
    const old = cluster.pods;
    await put({ name: "pay", function: "pay", replicas: 3, memoryMb: 64 });
    let least = 3;
    for (let i = 0; i < 60; i++) {
      clock.advance(50);
      least = Math.min(least, version().ready);
      connect();
    }
    expect([least, cluster.pods.length, conditions()]).toEqual([2, 3, ["Ready"]]);
    expect(cluster.pods.some((pod) => old.includes(pod))).toBe(false);
  });

  test("keeps the pods of an earlier spec when those of the new one can never be had, and says so", async () => {
    const { cluster, deploy, start, put, live, conditions, told } = await setUp({ maxMemoryMb: 1_000 });
    deploy(V1, "pay");
    await start();
    await put({ name: "pay", function: "pay", replicas: 3 });
    live(1_000);
    const old = cluster.pods;
    await put({ name: "pay", function: "pay", replicas: 3, memoryMb: 4_000 });
    live(5_000);
    expect([cluster.pods, conditions()]).toEqual([old, ["Ready", "Progressing", "InsufficientMemory"]]);
    expect(told()).toEqual([["InsufficientMemory", true]]);
  });

  test("says it once, also while other functions' pods start", async () => {
    const { cluster, deploy, start, put, live, clock, told } = await setUp({ maxPods: 6 });
    deploy(V1, "pay", "ship");
    await start();
    await put({ name: "pay", function: "pay", replicas: 4 });
    live(1_000);
    await put({ name: "ship", function: "ship", replicas: 9 });
    live(1_000);
    expect(told()).toEqual([["InsufficientPods", true]]);
    // Two that never connect: as many as may start at a time.
    for (const pod of cluster.pods.slice(0, 2)) cluster.die(pod);
    clock.advance(3_000);
    expect(told()).toEqual([["InsufficientPods", true]]);
  });
});

describe("a deployment", () => {
  test("gives the new version as many pods as the old one has, before calls wait for them", async () => {
    const { service, deploy, start, live, version, events } = await setUp();
    deploy(V1, { name: "pay", scale: { max: 8 } });
    await start();
    service.createPod("pay");
    const [target] = [...service.active()] as [Target];
    service.scale(target, 4, "its load", NO_FORECAST);
    live(1_000);
    deploy(V2, { name: "pay", scale: { max: 3 } });
    live(1_000);
    expect([version().version, version().desired, version().ready]).toEqual([V2, 3, 3]);
    expect(events.some((event) => event.type === "scale.decided" && event.reason.includes(`version ${V1} had`))).toBe(true);
  });

  test("forgets a version that is not current and has nothing any more, and its row", async () => {
    const { service, kept, deploy, start, call, answer, live, cluster } = await setUp();
    deploy(V1, "pay");
    await start();
    const entry = call();
    live(200);
    answer(entry);
    const [old] = [...service.active()];
    deploy(V2, "pay");
    live(600);
    expect([...kept.keys()]).toEqual([`desired/pay@${V1}`, `desired/pay@${V2}`]);
    for (const target of [...service.active()]) service.scale(target, 0, "no traffic", NO_FORECAST);
    live(6_000);
    for (const target of [...service.active()]) service.scale(target, 0, "no traffic", NO_FORECAST);
    live(1_000);
    expect([[...kept.keys()], [...service.active()], cluster.pods]).toEqual([[], [], []]);
    expect(service.service("pay").versions.map(({ version }) => version)).toEqual([V2]);
    call("pay", V1);
    expect([...service.active()]).toMatchObject([{ version: V1 }]);
    expect([...service.active()][0]).not.toBe(old);
  });
});

describe("the next life", () => {
  test("has what was desired, within what services say now, and nothing of versions that nobody knows", async () => {
    const kept = new Map<string, StateEntry>();
    const row = (key: string, value: unknown): void => void kept.set(key, { key, value: JSON.stringify(value), version: 1 });
    row(`desired/pay@${V1}`, { pods: 7 });
    row(`desired/ship@${V1}`, { pods: 3 });
    row(`desired/pay@${V2}`, { pods: 2 });
    row("service/ship", { name: "ship", function: "ship", replicas: 2 });
    const { deploy, start, live, version, cluster } = await setUp({}, kept);
    deploy(V1, { name: "pay", scale: { max: 5 } }, "ship");
    await start();
    live(2_000);
    expect([version("pay"), version("ship")]).toMatchObject([
      { desired: 5, ready: 5, reason: "restored" },
      { desired: 2, ready: 2 },
    ]);
    expect([...kept.keys()].sort()).toEqual([`desired/pay@${V1}`, `desired/ship@${V1}`, "service/ship"]);
    expect(cluster.pods).toHaveLength(7);
  });

  test("takes no position of the one before for one of its own", async () => {
    const first = await setUp();
    first.deploy(V1, "pay");
    const seen = (await first.service.serviceChanges.events(0)).at(-1)?.position as number;
    const second = await setUp({}, first.kept, 2);
    second.deploy(V1, "pay", "ship", "stock");
    const told = await second.service.serviceChanges.events(seen);
    expect(told.map(({ type }) => type)).toEqual(["reset", "added", "added", "added"]);
    expect(told[0]?.position).toBeGreaterThan(seen);
  });

  test("after a decision and its tick, knows it", async () => {
    const { service, kept, deploy, start, live } = await setUp();
    deploy(V1, "pay");
    await start();
    service.createPod("pay");
    expect(kept.size).toBe(0);
    live(100);
    expect([...kept.values()].map(({ value }) => value)).toEqual(['{"pods":1}']);
  });
});

test("a pod that is asked for right after the last one has gone works for the function's calls", async () => {
  const { service, deploy, start, call, live, cluster, clock } = await setUp();
  deploy(V1, "pay");
  await start();
  const first = call();
  live(200);
  for (const target of [...service.active()]) service.scale(target, 0, "no traffic", NO_FORECAST);
  // Its call is lost with it: the scheduler forgets the layer only after it has told of the pod's end.
  cluster.die(first.pod);
  const { id } = service.createPod("pay");
  cluster.connectAll();
  clock.advance(10);
  const second = call();
  expect([second.pod, cluster.pods]).toEqual([id, [id]]);
});

test("functions that have been called and have nothing any more are not looked at", async () => {
  const { service, scheduler, deploy, start, call, answer, live } = await setUp({ maxPods: 100 });
  const names = Array.from({ length: 60 }, (_, i) => `f${i}`);
  deploy(V1, ...names);
  await start();
  const calls = names.map((name) => call(name));
  live(200);
  for (const entry of calls) answer(entry);
  expect([...service.active()]).toHaveLength(60);
  for (const target of [...service.active()]) service.scale(target, 0, "no traffic", NO_FORECAST);
  live(1_000);
  expect([[...service.active()], [...scheduler.podSets()]]).toEqual([[], []]);
});

test("what is refused leaves nothing behind", async () => {
  const { service, scheduler, deploy, start, live } = await setUp({ maxPods: 1 });
  deploy(V1, "pay", "ship");
  await start();
  service.createPod("pay");
  live(200);
  expect(() => service.createPod("ship")).toThrow("the machine lacks pods");
  live(1_000);
  expect([...service.active()].map(({ fn }) => fn)).toEqual(["pay"]);
  expect([...scheduler.podSets()].map(({ layer }) => layer.fn)).toEqual(["pay"]);
  expect(service.service("ship").versions).toMatchObject([{ desired: 0, conditions: [{ type: "Ready" }] }]);
});
