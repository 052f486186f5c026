import { describe, expect, test } from "vitest";
import { FakeCluster } from "../../test/support/fake-cluster.ts";
import type { FromPod, ToPod } from "../protocol/pod.ts";
import type { Command, JournalRecord } from "../protocol/run.ts";
import { Fleet } from "../scheduler/fleet.ts";
import { createStepClock } from "../testing/step-clock.ts";
import type { HostOptions } from "./hosts.ts";
import { CoordinatorHosts } from "./hosts.ts";

const VERSION = { application: "shop", version: "v1", path: "/bundles/v1" };
const [A, B, C] = ["run_0000000000a", "run_0000000000b", "run_0000000000c"];

const setUp = async (options: Partial<HostOptions> = {}, { maxPods = 10, warmPods = 0 } = {}) => {
  const clock = createStepClock(1_000_000);
  const cluster = new FakeCluster(clock);
  const fleetOptions = { warmPods, defaultMemoryMb: 256, maxPods, hangMs: 3_600_000, idleMs: 10_000, memoryHeadroomMb: 100 };
  const fleet = new Fleet(cluster, clock, fleetOptions, { started: () => {}, stopped: () => {} });
  const told: unknown[][] = [];
  const hosts = new CoordinatorHosts(
    fleet,
    clock,
    { memoryMb: 256, podsPerVersion: 1, turnLimitMs: 10_000, ...options },
    {
      commands: (run, commands) => told.push(["commands", run, commands]),
      waits: (run, at) => told.push(["waits", run, at]),
      diverged: (run, failure) => told.push(["diverged", run, failure.code]),
      lines: (run, lines) => told.push(["lines", run, lines.length]),
      lost: (runs, exit, culprit) => told.push(["lost", [...runs].sort(), exit.reason, culprit]),
      refused: (runs, failure) => told.push(["refused", [...runs].sort(), failure.code]),
    },
  );
  await fleet.start();
  const begin = (run: string, version = VERSION, company?: number): void =>
    hosts.begin(version, { t: "begin", run, name: "booking", input: "", acceptedAt: 1, history: [] }, company);
  /** What a pod got after it was told to load, as `begin a`. */
  const got = (pod: string): string[] =>
    (cluster.sent.get(pod) ?? []).flatMap((message: ToPod) => ("run" in message ? [`${message.t} ${message.run.slice(-1)}`] : []));
  return { clock, cluster, fleet, hosts, told, begin, got };
};

const commandsOf = (run: string, ...commands: Command[]): FromPod => ({ t: "commands", run, commands });
const record = (seq: number): JournalRecord => ({ t: "done", seq, at: 1, value: "" });
const SLEEP: Command = { t: "sleep", seq: 1, ms: 5 };

describe("a suspect", () => {
  test("shares its pod with no more runs than its company allows, and with none that is not suspected", async () => {
    const { cluster, begin, got } = await setUp();
    begin(A!);
    begin(B!, VERSION, 1);
    begin(C!, VERSION, 1);
    cluster.connectAll();
    expect([got("pod-1"), got("pod-2"), got("pod-3")]).toEqual([["begin a"], ["begin b"], ["begin c"]]);
  });

  test("shares its pod with suspects of the same group", async () => {
    const { cluster, begin, got } = await setUp();
    begin(A!, VERSION, 2);
    begin(B!, VERSION, 2);
    begin(C!, VERSION, 2);
    cluster.connectAll();
    expect([got("pod-1"), got("pod-2")]).toEqual([["begin a", "begin b"], ["begin c"]]);
  });
});

describe("a run", () => {
  test("begins in a pod of its version as soon as that is connected; what is for it waits until then, in order", async () => {
    const { cluster, hosts, begin, got } = await setUp();
    begin(A!);
    hosts.deliver(A!, record(1));
    begin(B!);
    hosts.deliver(A!, record(2));
    expect([cluster.pods, got("pod-1"), hosts.isHosted(A!)]).toEqual([["pod-1"], [], true]);
    cluster.connect("pod-1");
    expect(cluster.to("pod-1", "load")).toEqual([{ t: "load", version: "v1", path: "/bundles/v1" }]);
    expect(got("pod-1")).toEqual(["begin a", "deliver a", "begin b", "deliver a"]);
    hosts.deliver(B!, record(3));
    expect(cluster.to("pod-1", "deliver").at(-1)).toEqual({ t: "deliver", run: B, record: record(3) });
  });

  test("gets a warm pod at once", async () => {
    const { cluster, begin, got } = await setUp({}, { warmPods: 1 });
    cluster.connect("pod-1");
    begin(A!);
    expect(got("pod-1")).toEqual(["begin a"]);
  });

  test("shares no pod with those of another version", async () => {
    const { cluster, begin, got } = await setUp();
    begin(A!);
    begin(B!, { ...VERSION, version: "v2" });
    cluster.connectAll();
    expect([got("pod-1"), got("pod-2")]).toEqual([["begin a"], ["begin b"]]);
  });

  test("goes to another pod while its version may have more, then to the one with the fewest", async () => {
    const { cluster, hosts, begin, got } = await setUp({ podsPerVersion: 2 });
    for (const run of [A!, B!]) begin(run);
    cluster.connectAll();
    begin(C!);
    expect([got("pod-1"), got("pod-2")]).toEqual([["begin a", "begin c"], ["begin b"]]);
    hosts.evict(B!, true);
    begin("run_0000000000d");
    expect(got("pod-2")).toEqual(["begin b", "evict b", "begin d"]);
  });

  test("takes no second pod while one has nothing to do", async () => {
    const { cluster, hosts, begin } = await setUp({ podsPerVersion: 2 });
    begin(A!);
    cluster.connectAll();
    hosts.evict(A!, true);
    begin(B!);
    expect(cluster.created).toBe(1);
  });

  test("that is evicted is told to its pod if need be, and gets nothing more", async () => {
    const { cluster, hosts, begin, got } = await setUp();
    for (const run of [A!, B!]) begin(run);
    cluster.connect("pod-1");
    hosts.evict(A!, true);
    hosts.evict(A!, true);
    hosts.evict(B!, false);
    hosts.deliver(A!, record(1));
    expect(got("pod-1")).toEqual(["begin a", "begin b", "evict a"]);
    expect([hosts.isHosted(A!), hosts.isHosted(B!)]).toEqual([false, false]);
  });

  test("that is evicted before its pod is connected never begins there", async () => {
    const { cluster, hosts, begin, got } = await setUp();
    for (const run of [A!, B!]) begin(run);
    hosts.deliver(A!, record(1));
    hosts.evict(A!, true);
    cluster.connect("pod-1");
    expect(got("pod-1")).toEqual(["begin b"]);
  });

  test("that left and comes back before its pod is connected begins there once", async () => {
    const { cluster, hosts, begin, got } = await setUp();
    begin(A!);
    hosts.evict(A!, true);
    begin(A!);
    cluster.connectAll();
    expect(cluster.pods.flatMap(got)).toEqual(["begin a"]);
  });

  test("that nobody knows gets nothing", async () => {
    const { cluster, hosts } = await setUp();
    hosts.deliver(A!, record(1));
    hosts.evict(A!, true);
    expect([cluster.created, hosts.isHosted(A!)]).toEqual([0, false]);
  });
});

describe("what a pod says", () => {
  test("of a run that lives in it is passed on", async () => {
    const { cluster, begin, told } = await setUp();
    begin(A!);
    cluster.connect("pod-1");
    const failure = JSON.stringify({ code: "REPLAY_DIVERGED", message: "no" });
    const lines = [{ at: 1, level: "info" as const, text: "hi" }];
    cluster.say("pod-1", commandsOf(A!, SLEEP), { t: "lines", run: A!, lines }, { t: "diverged", run: A!, failure });
    expect(told).toEqual([
      ["commands", A, [SLEEP]],
      ["lines", A, 1],
      ["diverged", A, "REPLAY_DIVERGED"],
    ]);
  });

  test("of a run that lives elsewhere, or nowhere, is dropped (H1)", async () => {
    const { cluster, hosts, begin, told } = await setUp();
    begin(A!);
    begin(B!, { ...VERSION, version: "v2" });
    cluster.connectAll();
    cluster.say("pod-1", commandsOf(B!, SLEEP), commandsOf(C!, SLEEP));
    hosts.evict(A!, true);
    cluster.say("pod-1", commandsOf(A!, SLEEP), { t: "lines", run: A!, lines: [] });
    expect(told).toEqual([]);
  });

  test("of a run that has moved on is dropped (H1)", async () => {
    const { cluster, hosts, begin, told, fleet } = await setUp({ podsPerVersion: 2 });
    begin(A!);
    cluster.connect("pod-1");
    cluster.dyingTakesLong = true;
    fleet.end(fleet.pods.get("pod-1")!, 5_000);
    hosts.evict(A!, true);
    begin(A!);
    cluster.connectAll();
    cluster.say("pod-1", commandsOf(A!, SLEEP));
    expect(told).toEqual([]);
    cluster.say("pod-2", commandsOf(A!, SLEEP));
    expect(told).toHaveLength(1);
    cluster.die("pod-1");
    expect(told).toHaveLength(1);
    expect(hosts.isHosted(A!)).toBe(true);
  });
});

describe("the end of a pod", () => {
  test("loses its runs, once, and only those (H2)", async () => {
    const { cluster, hosts, begin, told } = await setUp();
    for (const run of [A!, B!]) begin(run);
    begin(C!, { ...VERSION, version: "v2" });
    cluster.connectAll();
    cluster.die("pod-1", { reason: "killed" });
    cluster.die("pod-1");
    expect(told).toEqual([["lost", [A, B], "killed", undefined]]);
    expect([A!, B!, C!].map((run) => hosts.isHosted(run))).toEqual([false, false, true]);
  });

  test("that never connected loses its runs too", async () => {
    const { cluster, begin, told } = await setUp();
    begin(A!);
    cluster.die("pod-1", { reason: "killed" });
    expect(told).toEqual([["lost", [A], "killed", undefined]]);
  });

  test("does not lose a run that was evicted before", async () => {
    const { cluster, hosts, begin, told } = await setUp();
    begin(A!);
    cluster.connect("pod-1");
    hosts.evict(A!, true);
    cluster.die("pod-1");
    expect(told).toEqual([]);
  });

  test("lets its runs begin again in another one, also from within the report", async () => {
    const { cluster, begin, got, told, hosts } = await setUp();
    for (const run of [A!, B!]) begin(run);
    cluster.connect("pod-1");
    cluster.die("pod-1");
    for (const run of (told[0] as [string, string[]])[1]) begin(run);
    cluster.connectAll();
    expect([cluster.pods, got("pod-2"), hosts.isHosted(A!)]).toEqual([["pod-2"], ["begin a", "begin b"], true]);
  });
});

describe("a pod that stands still", () => {
  test("for longer than a coordinator may take is ended, and the run that executed is named", async () => {
    const { cluster, clock, begin, told } = await setUp({ turnLimitMs: 5_000 });
    for (const run of [A!, B!]) begin(run);
    cluster.connect("pod-1");
    cluster.beat("pod-1", { blockedMs: 4_999, run: B! });
    expect(cluster.deleted).toEqual([]);
    cluster.beat("pod-1", { blockedMs: 5_000, run: B! });
    expect(cluster.deleted).toEqual([{ pod: "pod-1", graceMs: 0, reason: "killed" }]);
    clock.advance(0);
    expect(told).toEqual([["lost", [A, B], "killed", B]]);
  });

  test("while no coordinator executes has no culprit", async () => {
    const { cluster, clock, begin, told } = await setUp({ turnLimitMs: 5_000 });
    begin(A!);
    cluster.connect("pod-1");
    cluster.beat("pod-1", { blockedMs: 6_000, run: "" });
    clock.advance(0);
    expect(told).toEqual([["lost", [A], "killed", undefined]]);
  });

  test("and moves again before it is ended for another reason has no culprit either", async () => {
    const { cluster, begin, told } = await setUp({ turnLimitMs: 5_000 });
    begin(A!);
    cluster.connect("pod-1");
    cluster.beat("pod-1", { blockedMs: 3_000, run: A! });
    cluster.die("pod-1");
    expect(told).toEqual([["lost", [A], "exited", undefined]]);
  });
});

describe("a version that does not load", () => {
  test("refuses its runs with the reason, once, and its pod is ended", async () => {
    const { cluster, clock, begin, told, hosts } = await setUp();
    for (const run of [A!, B!]) begin(run);
    cluster.connect("pod-1");
    cluster.say("pod-1", { t: "refused", version: "v1", failure: JSON.stringify({ code: "APPLICATION_INVALID", message: "no" }) });
    clock.advance(0);
    expect(told).toEqual([["refused", [A, B], "APPLICATION_INVALID"]]);
    expect([cluster.pods, hosts.isHosted(A!)]).toEqual([[], false]);
    begin(A!);
    expect(cluster.pods).toEqual(["pod-2"]);
  });
});

describe("a machine without room", () => {
  test("lets runs wait together, and they begin when there is a pod", async () => {
    const { cluster, clock, hosts, fleet, begin, got } = await setUp({}, { maxPods: 1 });
    begin(C!, { ...VERSION, version: "v2" });
    cluster.connect("pod-1");
    begin(A!);
    begin(B!);
    hosts.deliver(A!, record(1));
    clock.advance(1_000);
    expect([cluster.created, hosts.isHosted(A!)]).toEqual([1, true]);
    fleet.end(fleet.pods.get("pod-1")!, 0);
    clock.advance(100);
    cluster.connectAll();
    expect([cluster.pods, got("pod-2")]).toEqual([["pod-2"], ["begin a", "begin b", "deliver a"]]);
    expect(fleet.pods.get("pod-2")?.inFlight).toBe(2);
    cluster.die("pod-2");
    expect([hosts.isHosted(A!), hosts.isHosted(B!)]).toEqual([false, false]);
  });

  test("lets them begin at once when a warm pod comes free", async () => {
    const { cluster, clock, hosts, begin, got, told } = await setUp({}, { maxPods: 2, warmPods: 1 });
    cluster.connectAll();
    begin(C!, { ...VERSION, version: "v2" });
    begin(A!);
    expect(hosts.isHosted(A!)).toBe(true);
    cluster.connectAll();
    clock.advance(500);
    cluster.connectAll();
    const home = cluster.pods.find((pod) => got(pod).includes("begin a"))!;
    expect(got(home)).toEqual(["begin a"]);
    cluster.say(home, commandsOf(A!, SLEEP));
    expect(told).toEqual([["commands", A, [SLEEP]]]);
  });

  test("asks for none any more once it stops", async () => {
    const { cluster, clock, hosts, fleet, begin } = await setUp({}, { maxPods: 1 });
    begin(C!, { ...VERSION, version: "v2" });
    cluster.connect("pod-1");
    begin(A!);
    hosts.stop();
    await fleet.stop();
    clock.advance(1_000);
    expect(clock.timers).toBe(0);
  });

  test("takes no pod for runs that were evicted while they waited, and leaves no timer for them", async () => {
    const { cluster, clock, hosts, fleet, begin } = await setUp({}, { maxPods: 1 });
    begin(C!, { ...VERSION, version: "v2" });
    cluster.connect("pod-1");
    begin(A!);
    hosts.evict(A!, true);
    clock.advance(1_000);
    fleet.end(fleet.pods.get("pod-1")!, 0);
    clock.advance(1_000);
    expect(cluster.created).toBe(1);
    await fleet.stop();
    clock.advance(1_000);
    expect(clock.timers).toBe(0);
    expect(hosts.isHosted(A!)).toBe(false);
  });
});

describe("pods without runs", () => {
  test("are ended after a while, and a run that comes meanwhile gets another one", async () => {
    const { cluster, clock, hosts, begin, got } = await setUp();
    begin(A!);
    cluster.connect("pod-1");
    clock.advance(20_000);
    expect(cluster.deleted).toEqual([]);
    hosts.evict(A!, true);
    cluster.dyingTakesLong = true;
    clock.advance(10_500);
    expect(cluster.deleted[0]).toMatchObject({ pod: "pod-1", reason: "deleted" });
    begin(B!);
    cluster.connectAll();
    expect([got("pod-1"), got("pod-2")]).toEqual([["begin a", "evict a"], ["begin b"]]);
  });

  test("that run something are not idle", async () => {
    const { clock, cluster, begin } = await setUp();
    begin(A!);
    cluster.connect("pod-1");
    clock.advance(60_000);
    expect(cluster.pods).toEqual(["pod-1"]);
  });
});

test("pods that do not start lose no run: the next one is asked for, later each time", async () => {
  const { cluster, clock, hosts, told, begin, got } = await setUp();
  const times: number[] = [];
  begin(A!);
  for (let i = 1; i <= 12; i++) {
    const startedAt = clock.now();
    cluster.die(`pod-${i}`, { reason: "failed-to-start" });
    if (i === 2) begin(B!);
    while (cluster.created === i) clock.advance(10);
    times.push(clock.now() - startedAt);
  }
  hosts.deliver(A!, record(1));
  clock.advance(700);
  expect(hosts.connectedMs(B!)).toBe(0);
  cluster.connect("pod-13");
  expect(got("pod-13")).toEqual(["begin a", "begin b", "deliver a"]);
  clock.advance(30);
  expect(hosts.connectedMs(B!)).toBe(30);
  expect([told, hosts.isHosted(A!), hosts.isHosted(B!)]).toEqual([[], true, true]);
  expect(times.slice(0, 4)).toEqual([50, 100, 200, 400]);
  expect(times.at(-1)).toBe(5_000);
});
